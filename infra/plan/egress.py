"""Where tasks may open connections, beside Redis and AWS' endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Literal
from urllib.parse import urlsplit

#: Ports that an address need not name.
_PORTS: Final = {"http": 80, "https": 443, "mongodb": 27017, "mongodb+srv": 27017}
TLS_PORT: Final = 443


@dataclass(frozen=True)
class Opening:
    """One rule of the tasks' security group.

    Attributes:
        to: An IPv4 range, a security group (`sg-…`) or a prefix list (`pl-…`).
        port: TCP port.
        description: Shown beside the rule.
    """

    to: str
    port: int
    description: str

    @property
    def kind(self) -> Literal["peer", "prefix_list", "cidr"]:
        """What `to` is."""
        if self.to.startswith("sg-"):
            return "peer"
        return "prefix_list" if self.to.startswith("pl-") else "cidr"


def targets(address: str) -> tuple[tuple[str, int], ...]:
    """Return the hosts and ports that an address of `waitFor` names; a MongoDB replica set has several.

    Raises:
        ValueError: If a port is missing or is none.
    """
    parts = urlsplit(address)
    found = []
    for one in parts.netloc.split(","):
        host, _, port = one.partition(":")
        number = int(port) if port.isdecimal() else _PORTS.get(parts.scheme) if not port else None
        if not host or number is None or not 1 <= number <= 65535:
            raise ValueError(f"{address!r} names no port; write {parts.scheme}://host:port")
        found.append((host, number))
    return tuple(found)


def literal(host: str) -> bool:
    """Whether `host` is an IPv4 address, which a rule can name, rather than a name."""
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def openings(cidrs: Iterable[str], listed: Iterable[Opening], wait_for: Iterable[str]) -> tuple[Opening, ...]:
    """Return every rule, each destination and port once.

    Args:
        cidrs: Ranges to which tasks may open TLS connections.
        listed: What the configuration names beside them.
        wait_for: Addresses that must answer before a worker starts; those without a name get a rule of their own.
    """
    derived = [
        Opening(f"{host}/32", port, "Must answer before a worker starts")
        for address in wait_for
        for host, port in targets(address)
        if literal(host)
    ]
    tls = [Opening(cidr, TLS_PORT, "AWS APIs and what the tasks call") for cidr in cidrs]
    found: dict[tuple[str, int], Opening] = {}
    for one in (*tls, *listed, *derived):
        found.setdefault((one.to, one.port), one)
    return tuple(found.values())


def closed_ports(address: str, open_ports: Iterable[int]) -> tuple[int, ...]:
    """Return the ports of `address` that no rule opens; a rule for an address without a name is made by itself."""
    known = set(open_ports)
    return tuple(sorted({port for host, port in targets(address) if port not in known and not literal(host)}))
