"""The addresses of what a worker waits for: which are understood, and how they are shown."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

#: Default ports by scheme; None where the address must name one, or its driver knows.
SCHEMES: Final = {"tcp": None, "http": 80, "https": 443, "mongodb": None, "mongodb+srv": None}


def address_problem(url: str) -> str | None:
    """What is wrong with an address, without repeating any of it, since it may hold a password; None if nothing is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # The error's own text may quote the password.
        return "brackets are for an IPv6 host; in a user or password write [ as %5B, ] as %5D, and other signs likewise"
    if parts.scheme not in SCHEMES:
        return f"the scheme must be one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        # Such a password ends at the first of these signs: its beginning counts as a port, and its rest as a path.
        return "an @ behind a /, ? or #: in a user or password write these as %2F, %3F and %23, elsewhere the @ as %40"
    hosts = _hosts(parts)
    if not all(hosts):
        return "names no host"
    try:
        ports = [urlsplit(f"//{host}").port for host in hosts]
    except ValueError:
        return "a port must be a number from 0 to 65535"
    if parts.scheme == "tcp" and (ports == [None] or parts.path or parts.query):
        return "expected tcp://host:port"
    return None


def shown(url: str) -> str:
    """An address for people: without user, password and options; of one that is not understood nothing is shown."""
    if address_problem(url):
        return "an address that is not understood"
    parts = urlsplit(url)
    return f"{parts.scheme}://{','.join(_hosts(parts))}{'' if _many_hosts(parts) else parts.path}"


def _hosts(parts: SplitResult) -> list[str]:
    """Each host with its port; a replica set has several, which its driver tells apart."""
    hosts = parts.netloc.rpartition("@")[2]
    return hosts.split(",") if _many_hosts(parts) else [hosts]


def _many_hosts(parts: SplitResult) -> bool:
    return parts.scheme.startswith("mongodb")
