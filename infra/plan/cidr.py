"""How the network's addresses are divided."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

MAX_ZONES: Final = 4
SHORTEST_PREFIX: Final = 16
LONGEST_PREFIX: Final = 22


@dataclass(frozen=True)
class Subnets:
    """Address ranges by zone: index 0 is the first zone.

    Attributes:
        private: Where tasks and Redis live: an eighth of the network each.
        public: Only for NAT gateways: a sixty-fourth each.
    """

    private: tuple[str, ...]
    public: tuple[str, ...]


def check_network(cidr: str) -> str:
    """Return `cidr` if a VPC can have it and every subnet stays large enough for AWS.

    Raises:
        ValueError: Says what a valid range looks like.
    """
    try:
        network = IPv4Network(cidr)
    except ValueError as error:
        raise ValueError(f"{cidr!r} is not an IPv4 network such as 10.20.0.0/16 ({error})") from None
    if not SHORTEST_PREFIX <= network.prefixlen <= LONGEST_PREFIX:
        raise ValueError(f"{cidr!r} must be between /{SHORTEST_PREFIX} and /{LONGEST_PREFIX}")
    if not network.is_private:
        raise ValueError(f"{cidr!r} is not private; take a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
    return cidr


def check_range(cidr: str) -> str:
    """Return `cidr` if it is an IPv4 range as a security group takes it.

    Raises:
        ValueError: Says what a valid range looks like.
    """
    try:
        IPv4Network(cidr)
    except ValueError as error:
        raise ValueError(f"{cidr!r} is not an IPv4 range such as 203.0.113.0/24 ({error})") from None
    if "/" not in cidr:
        raise ValueError(f"{cidr!r} is not an IPv4 range such as 203.0.113.0/24")
    return cidr


def subnets(cidr: str, zones: int) -> Subnets:
    """Divide `cidr` for `zones` availability zones.

    Zone n always gets the same ranges, so adding a zone later moves no subnet.

    Raises:
        ValueError: If the range or the number of zones does not fit.
    """
    network = IPv4Network(check_network(cidr))
    if not 1 <= zones <= MAX_ZONES:
        raise ValueError(f"{zones} zones do not fit; valid: 1 to {MAX_ZONES}")
    eighths = list(network.subnets(prefixlen_diff=3))
    public = list(eighths[-1].subnets(prefixlen_diff=3))
    return Subnets(
        private=tuple(str(block) for block in eighths[:zones]),
        public=tuple(str(block) for block in public[:zones]),
    )
