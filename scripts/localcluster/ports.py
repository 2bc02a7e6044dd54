"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket

from scripts.localcluster.errors import LocalClusterError

HOST = "127.0.0.1"
#: Redis' default distance between a node's port and its cluster bus port.
BUS_OFFSET = 10_000
# The bus ports end below the range from which Linux takes ports for outgoing connections.
_LOWEST, _HIGHEST = 10_000, 19_999


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Find ports that are free together with their bus ports.

    Args:
        count: How many.

    Returns:
        Ports in ascending order.

    Raises:
        LocalClusterError: There are not that many.
    """
    candidates = random.sample(range(_LOWEST, _HIGHEST + 1), _HIGHEST + 1 - _LOWEST)
    found: list[int] = []
    for port in candidates:
        if is_free(port) and is_free(port + BUS_OFFSET):
            found.append(port)
            if len(found) == count:
                return sorted(found)
    raise LocalClusterError(f"Fewer than {count} free ports between {_LOWEST} and {_HIGHEST}: stop some programs.")


def require_free(ports: list[int]) -> None:
    """Check ports that somebody chose.

    Args:
        ports: The nodes' ports; their bus ports are checked too.

    Raises:
        LocalClusterError: One of them is taken, or not a port that leaves room for its bus port.
    """
    for port in ports:
        if not 0 < port <= 65_535 - BUS_OFFSET:
            raise LocalClusterError(f"Port {port} is out of range: choose one from 1 to {65_535 - BUS_OFFSET}.")
        for wanted, use in ((port, ""), (port + BUS_OFFSET, f" (cluster bus of {port})")):
            if not is_free(wanted):
                raise LocalClusterError(
                    f"Port {wanted}{use} on {HOST} is taken: stop the program that listens there or choose other ports."
                )
