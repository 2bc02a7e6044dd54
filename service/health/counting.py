"""What became of this worker's tasks, counted from the events that Celery makes of them anyway.

Celery calls its event dispatcher for every step of a task whether somebody listens or not; here the call is counted
on its way. Nothing is published for it.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakValueDictionary

from celery import signals
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from prometheus_client import Histogram

#: A task's name, worker and queue.
Labels = tuple[str, str, str]

#: Steps of a task, as Celery's events call them.
STEPS: Final = ("received", "started", "succeeded", "failed", "retried", "rejected", "revoked")
#: What the end of a task counts as in `celery_tasks_total`.
STATUS: Final = {
    "succeeded": "success",
    "failed": "failure",
    "retried": "retry",
    "rejected": "rejected",
    "revoked": "revoked",
}
#: Upper bounds in seconds; tasks of minutes are ordinary here, so the library's own ten seconds are not the end.
BOUNDS: Final = (*(bound for bound in Histogram.DEFAULT_BUCKETS if bound < float("inf")), 60.0, 300.0, 1800.0, 3600.0)


@dataclass
class Durations:
    """How long tasks took: how many in each bucket, and all together."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """One took that long."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus wants them: upper bound and how many took no longer."""
        counted = 0
        said = []
        for bound, number in zip((*map(str, BOUNDS), "+Inf"), self.buckets, strict=True):
            counted += number
            said.append((bound, float(counted)))
        return said


class Counts:
    """The counters of this process. Reading needs no lock."""

    def __init__(self) -> None:
        self.steps: dict[tuple[str, Labels], int] = defaultdict(int)
        #: Failures by labels and the exception's class.
        self.failures: dict[tuple[Labels, str], int] = defaultdict(int)
        #: How long tasks ran in their process, of those that succeeded.
        self.runtimes: dict[Labels, Durations] = defaultdict(Durations)
        #: From start to end as the worker saw it, however they ended.
        self.durations: dict[Labels, Durations] = defaultdict(Durations)
        # Between the threads of a pool; who reads does not take it.
        self._lock = threading.Lock()
        self._requests: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def received(self, request: Any) -> None:
        """A message became a task of this worker."""
        self._requests[request.id] = request

    def note(self, step: str, hostname: str, fields: dict[str, Any]) -> None:
        """A step of a task, with the fields of its event."""
        request = self._requests.get(fields.get("uuid", ""))
        # One that expired or was revoked before it was received has no name any more.
        labels = ("unknown", hostname, "unknown")
        if request is not None:
            labels = (request.name, hostname, (request.delivery_info or {}).get("routing_key") or "unknown")
        with self._lock:
            self.steps[step, labels] += 1
            if step == "failed":
                self.failures[labels, str(fields.get("exception", "")).partition("(")[0]] += 1
            if step == "succeeded" and fields.get("runtime") is not None:
                self.runtimes[labels].add(fields["runtime"])
            if step in STATUS and request is not None and request.time_start:
                self.durations[labels].add(time.time() - request.time_start)

    def by_status(self) -> Iterator[tuple[str, int]]:
        """How tasks ended, all of them together."""
        steps = dict(self.steps)
        for step, status in STATUS.items():
            yield status, sum(number for (one, _), number in steps.items() if one == step)


COUNTS: Final = Counts()


def _received(request: Any, **_: object) -> None:
    COUNTS.received(request)


signals.task_received.connect(_received)


class CountingDispatcher(EventDispatcher):
    """Celery's dispatcher, which counts the events of tasks on their way."""

    def send(self, type: str, *args: Any, **fields: Any) -> Any:
        """As Celery's."""
        group, _, step = type.partition("-")
        if group == "task" and step in STEPS:
            COUNTS.note(step, self.hostname, fields)
        return super().send(type, *args, **fields)


class CountingEvents(Events):
    """For `Celery(events=…)`."""

    dispatcher_cls = f"{__name__}:CountingDispatcher"
