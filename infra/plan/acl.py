"""What the network ACL of the private subnets lets in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Ports below hold what nobody outside may call, among them SSH (22) and RDP (3389).
FIRST_OPEN_PORT: Final = 3390
_UNREACHABLE: Final = 3


@dataclass(frozen=True)
class Entry:
    """One inbound entry; whatever no entry allows is denied.

    Attributes:
        number: Order of evaluation.
        source: IPv4 range.
        protocol: `-1` (all), `tcp` or `icmp`.
        first: First port, 0 without ports.
        last: Last port, 0 without ports.
        icmp_type: For `icmp`.
    """

    number: int
    source: str
    protocol: str
    first: int = 0
    last: int = 0
    icmp_type: int | None = None


def private_entries(cidr: str) -> tuple[Entry, ...]:
    """Return the entries for private subnets of a VPC with the range `cidr`.

    An ACL has no memory: answers must be let in by their port. Linux opens connections from 32768 on, so answers to
    tasks never need a port that is denied here; NAT gateways start at 1024, so their subnets keep the VPC's own ACL.
    """
    everywhere = "0.0.0.0/0"
    return (
        Entry(100, cidr, "-1"),
        Entry(200, everywhere, "tcp", FIRST_OPEN_PORT, 65535),
        # Routers say with it that a packet was too large.
        Entry(300, everywhere, "icmp", icmp_type=_UNREACHABLE),
    )
