"""Threads of this process whose work nobody else does: a worker that has lost one should be replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Each with what it does, and with what tells it to end.
_started: list[tuple[str, threading.Thread, threading.Event]] = []


def start(does: str, run: Callable[[threading.Event], None], stopping: threading.Event) -> None:
    """Run something in a daemon thread, without which the worker is broken until `stopping` is set.

    Args:
        does: What it does, as in "the thread that … is gone".
        run: Is given `stopping`, and returns when that is set.
        stopping: Tells it to end.
    """
    thread = threading.Thread(target=run, args=(stopping,), name=does, daemon=True)
    _started.append((does, thread, stopping))
    thread.start()


def gone() -> tuple[str, ...]:
    """What the threads did that have ended without being told to; costs no I/O and takes no lock."""
    # Before it is started a thread has no ident, and is not alive either.
    return tuple(
        does
        for does, thread, stopping in list(_started)
        if thread.ident is not None and not thread.is_alive() and not stopping.is_set()
    )
