"""What each path of the endpoint says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.health.exposition import WorkerMetrics
from service.health.judge import Signs, Verdict, judge
from service.health.sampler import Sampler
from service.health.server import Answer
from service.health.transport import lease_signs

_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Endpoint:
    """The answers of one worker.

    Attributes:
        worker: Its name.
        queues: What it consumes.
        pool: Its kind of pool.
        signs: What it notes of itself.
        active: How many of its tasks run now.
        sampler: What it knows of the others.
        metrics: What Prometheus gets.
    """

    worker: str
    queues: tuple[str, ...]
    pool: str
    signs: Signs
    active: Callable[[], int]
    sampler: Sampler
    metrics: WorkerMetrics

    def verdict(self) -> Verdict:
        """How the worker is now."""
        return judge(self.signs, lease_signs(), self.active(), time.monotonic())

    def answer(self, path: str) -> Answer | None:
        """What is said at a path; None where there is nothing."""
        if path == "/metrics":
            return Answer(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, self.metrics.text())
        verdict = self.verdict()
        if path == "/health/live":
            return _plain(verdict.alive, verdict.broken)
        if path == "/health/ready":
            return _plain(verdict.ready, verdict.reasons)
        if path == "/health/celery":
            return Answer(_status(verdict.ready), "application/json", json.dumps(self._report(verdict)) + "\n")
        return None

    def _report(self, verdict: Verdict) -> dict[str, object]:
        workers, active = self.sampler.fleet or (None, None)
        return {
            "healthy": verdict.ready,
            "reasons": verdict.reasons,
            "workers": workers,
            "active_tasks": active,
            "worker": {
                "name": self.worker,
                "queues": self.queues,
                "pool": self.pool,
                "active_tasks": self.active(),
            },
        }


def _status(fine: bool) -> HTTPStatus:
    return HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE


def _plain(fine: bool, reasons: tuple[str, ...]) -> Answer:
    return Answer(_status(fine), _TEXT, "ok\n" if fine else "; ".join(reasons) + "\n")
