"""Threads and locks of the operating system, whatever gevent or eventlet have replaced.

Leases are renewed by a native thread: a green thread starves behind a busy one.
"""

from __future__ import annotations

import _thread
import os
import posix
import select
import sys
import time
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any


def _original(module: ModuleType, name: str) -> Any:
    """A function of the standard library as it was before monkey-patching; None where there is none."""
    gevent_monkey = sys.modules.get("gevent.monkey")
    if gevent_monkey is not None and gevent_monkey.is_module_patched(module.__name__):
        return gevent_monkey.get_original(module.__name__, name)
    eventlet_patcher = sys.modules.get("eventlet.patcher")
    if eventlet_patcher is not None and eventlet_patcher.is_monkey_patched(module.__name__.lstrip("_")):
        return getattr(eventlet_patcher.original(module.__name__), name, None)
    return getattr(module, name, None)


#: The threads that `start_thread` started and that still run.
_threads: set[int] = set()


def start_thread(run: Callable[[], None]) -> None:
    """Run a function in a native thread that does not keep the process alive."""
    identity = _original(_thread, "get_ident")

    def registered() -> None:
        _threads.add(identity())
        try:
            run()
        finally:
            _threads.discard(identity())

    _original(_thread, "start_new_thread")(registered, ())


def in_native_thread() -> bool:
    """Whether the caller runs in a thread of `start_thread`."""
    return _original(_thread, "get_ident")() in _threads


def locks_are_green() -> bool:
    """Whether the locks of `threading` cannot be shared with a native thread: eventlet's; gevent's can."""
    eventlet_patcher = sys.modules.get("eventlet.patcher")
    return eventlet_patcher is not None and bool(eventlet_patcher.is_monkey_patched("thread"))


class Gate:
    """A lock that green and native threads can share, held across I/O.

    A native lock alone would stop every green thread while one of them holds it and waits for a reply, so waiting
    means trying again.
    """

    def __init__(self) -> None:
        self._lock = _original(_thread, "allocate_lock")()

    def try_enter(self) -> bool:
        """Enter if nobody is inside; never waits."""
        return bool(self._lock.acquire(False))

    def leave(self) -> None:
        """Let the next one in."""
        self._lock.release()

    def __enter__(self) -> None:
        while not self.try_enter():
            time.sleep(0.002)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def readable(descriptors: list[int], timeout: float) -> list[int]:
    """Descriptors that can be read within `timeout` seconds; for native threads only, since it stops green ones."""
    return _poll(_original(select, "poll")(), descriptors, timeout)


def wait_readable(descriptors: list[int], timeout: float) -> list[int]:
    """As `readable`, for any thread: others, green ones too, go on meanwhile."""
    # eventlet has no poll; select is limited to descriptors below 1024.
    if not hasattr(select, "poll"):
        return select.select(descriptors, [], [], timeout)[0]
    return _poll(select.poll(), descriptors, timeout)


def _poll(poller: Any, descriptors: list[int], timeout: float) -> list[int]:
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poller.poll(max(0.0, timeout) * 1000)]


class Bell:
    """A pipe that wakes whoever waits for it to become readable, from any thread and from the garbage collector.

    So it takes no lock, and the pipe is closed only when nobody can ring it any more.
    """

    def __init__(self) -> None:
        self._rung = False
        self.fileno, self._write_end = os.pipe()
        os.set_blocking(self.fileno, False)
        os.set_blocking(self._write_end, False)

    def __del__(self) -> None:
        posix.close(self._write_end)
        posix.close(self.fileno)

    def ring(self) -> None:
        """Make the pipe readable, if it is not."""
        if not self._rung:
            self._rung = True
            try:
                # Not os.write: eventlet's refuses two writers.
                posix.write(self._write_end, b"\0")
            except BlockingIOError:
                pass

    @property
    def rung(self) -> bool:
        """Whether it was rung since it was last heard."""
        return self._rung

    def hear(self) -> None:
        """Make it unreadable again. What the ring was about must be looked at after this."""
        try:
            posix.read(self.fileno, 64)
        except BlockingIOError:
            pass
        # Last: a ring that came in between writes nothing, but what it is about will be looked at.
        self._rung = False
