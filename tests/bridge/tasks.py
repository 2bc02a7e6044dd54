"""Tasks that both sides know, and the old side's app; every run is a line in a ledger outside both brokers."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from celery import Celery, shared_task, signals

import service.rediscluster  # noqa: F401  the old side may keep its results in the fleet's cluster

LEDGER, OLD, RESULTS = "BRIDGE_LEDGER", "BRIDGE_OLD", "BRIDGE_RESULTS"


def note(side: str, event: str, number: int) -> None:
    """Write a line; a write to a file opened for appending is one step."""
    descriptor = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{side} {event} {number}\n".encode())
    finally:
        os.close(descriptor)


def side() -> str:
    """Which side this process works for."""
    return "old" if OLD in os.environ else "new"


def runs(ledger: Path, event: str = "record") -> dict[str, Counter[int]]:
    """How often each number ran, by side."""
    found: dict[str, Counter[int]] = {"old": Counter(), "new": Counter()}
    if ledger.exists():
        for line in ledger.read_text().splitlines():
            where, what, number = line.split()
            if what == event:
                found[where][int(number)] += 1
    return found


@shared_task(name="tests.bridge.record")
def record(number: int) -> int:
    """Note that it ran."""
    note(side(), "record", number)
    return number


@shared_task(name="tests.bridge.stubborn", bind=True, max_retries=2)
def stubborn(task: object, number: int) -> int:
    """Succeed at the second attempt."""
    if task.request.retries < 1:  # type: ignore[attr-defined] # a bound task
        raise task.retry(countdown=0.1)  # type: ignore[attr-defined] # the same
    note(side(), "record", number)
    return number


@shared_task(name="tests.bridge.total")
def total(numbers: list[int]) -> int:
    """The body of a chord."""
    note(side(), "total", sum(numbers))
    return sum(numbers)


def make_old_app(url: str, results: str | None) -> Celery:
    """A stock app as it stands before the move, or with its results in the fleet's cluster already."""
    app = Celery("old", broker=url, backend=results, set_as_current=OLD in os.environ)
    app.conf.update(worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True, result_compression="gzip")
    return app


app: Celery | None = None
if OLD in os.environ:
    app = make_old_app(os.environ[OLD], os.environ.get(RESULTS))
    signals.worker_ready.connect(lambda **_: note("old", "ready", 0), weak=False)
