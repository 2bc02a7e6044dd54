"""Lets a test make its worker ill, by signals to the worker's main process."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from celery import shared_task, signals
from celery.concurrency.prefork import TaskPool as ProcessPool

from service.breaker import guarded
from service.rediscluster import session

#: Blocks the main loop until the file `release` is there; kills the pool for good; ends the lease threads.
BLOCK, KILL_POOL, END_LEASES = signal.SIGRTMIN, signal.SIGRTMIN + 1, signal.SIGRTMIN + 2

_workers: list[Any] = []


def _wait_for(name: str) -> None:
    while not Path(os.environ["TMPDIR"], name).exists():
        time.sleep(0.02)


def _kill_pool(*_: object) -> None:
    for worker in _workers:
        pool = worker.pool
        if isinstance(pool, ProcessPool):
            inner: Any = pool
            inner._pool._repopulate_pool = lambda _codes: None
            for process in inner._pool._pool:
                os.kill(process.pid, signal.SIGKILL)
        else:
            pool.executor.shutdown(wait=False)


def _end_leases(*_: object) -> None:
    for one in session._sessions.values():
        one.pump._stopping = True
        one.pump._bell.ring()


def _worker_begins(sender: Any, **_: object) -> None:
    # Not when it is ready: that is after its endpoint says so, and the signals' default is death.
    _workers.append(sender)
    signal.signal(BLOCK, lambda *_: _wait_for("release"))
    signal.signal(KILL_POOL, _kill_pool)
    signal.signal(END_LEASES, _end_leases)


signals.worker_init.connect(_worker_begins)


@shared_task
def hold() -> None:
    """Say so and wait for the file `release`."""
    Path(os.environ["TMPDIR"], "started").touch()
    _wait_for("release")


@shared_task
def spin() -> None:
    """The same without ever letting another greenlet run."""
    directory = Path(os.environ["TMPDIR"])
    (directory / "started").touch()
    while not (directory / "release").exists():
        pass


@shared_task(bind=True, max_retries=1)
def fail_twice(self: Any) -> None:
    """Fail, be tried again, and fail for good."""
    raise self.retry(exc=ValueError("no"), countdown=0)


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 5).close()


@shared_task(bind=True, max_retries=0)
def call_outside(self: Any, port: int) -> int:
    """Connect under a breaker; how many retries that took."""
    guarded(f"outside:{port}", (ConnectionError,), _connect, port)
    return int(self.request.retries)
