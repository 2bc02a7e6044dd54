"""A bare LPUSH loop, before and after each round: it tells whether the machine was the same all the time.

Loopback round trips are bimodal on virtual machines; a ratio from a round that changed half-way says little.
"""

from __future__ import annotations

import socket
import time

#: Round trips of one loop.
TRIPS = 3000
#: A round in which the loop's rate changed by more than this factor is unsteady.
CHANGE = 1.25

_KEY = b"bench-raw"


def rate(host: str, port: int) -> float:
    """Round trips per second of LPUSH with 100 bytes on one connection."""
    command = b"*3\r\n$5\r\nLPUSH\r\n$%d\r\n%b\r\n$100\r\n%b\r\n" % (len(_KEY), _KEY, b"x" * 100)
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        for _ in range(TRIPS):
            connection.sendall(command)
            connection.recv(64)
        taken = time.perf_counter() - started
        connection.sendall(b"*2\r\n$6\r\nUNLINK\r\n$%d\r\n%b\r\n" % (len(_KEY), _KEY))
        connection.recv(64)
    return TRIPS / taken


def steady(before: float, after: float) -> bool:
    """Whether two rates are close enough."""
    return max(before, after) <= CHANGE * min(before, after)
