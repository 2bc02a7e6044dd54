"""Which core runs what. Servers have one and clients another, on both sides, so that neither takes the other's time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def shares(cores: Sequence[int]) -> tuple[int, int]:
    """The core of the servers and that of the clients; the same one where there is no other."""
    return min(cores), max(cores)


SERVERS, CLIENTS = shares(sorted(os.sched_getaffinity(0)))


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this thread, and whatever it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
