"""The addresses of what a worker waits for: which are understood, and how they are shown."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

#: Default ports by scheme; None where the address must name one, or its driver knows.
SCHEMES: Final = {"tcp": None, "http": 80, "https": 443, "mongodb": None, "mongodb+srv": None}


def address_problem(url: str) -> str | None:
    """What is wrong with an address, without repeating it, since it may hold a password; None if nothing is."""
    try:
        parts = urlsplit(url)
        # A replica set has several hosts with ports; its driver reads them.
        port = None if _many_hosts(parts) else parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in SCHEMES:
        return f"the scheme must be one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
    if not parts.netloc.rpartition("@")[2]:
        return "names no host"
    if parts.scheme == "tcp" and (port is None or parts.path or parts.query):
        return "expected tcp://host:port"
    return None


def shown(url: str) -> str:
    """An address for people: without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{'' if _many_hosts(parts) else parts.path}"


def _many_hosts(parts: SplitResult) -> bool:
    return parts.scheme.startswith("mongodb")
