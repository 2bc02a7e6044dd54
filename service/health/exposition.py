"""The worker's metrics as Prometheus reads them, under the names that celery-exporter made common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.breaker.shared import Standing
from service.health.counting import STEPS, Counts, Durations, Labels
from service.rediscluster import TransportStats, transport_stats

LABELS: Final = ("name", "hostname", "queue_name")

_TASKS: Final = {
    "received": "Tasks that this worker received.",
    "started": "Tasks that began to run.",
    "succeeded": "Tasks that succeeded.",
    "failed": "Tasks that failed for good.",
    "retried": "Tasks that failed and will be tried again.",
    "rejected": "Tasks whose message was rejected: requeued, or on its way to the dead list.",
    "revoked": "Tasks that were revoked, or had expired.",
}


class WorkerMetrics(Collector):
    """Makes the metrics anew at each reading."""

    def __init__(
        self,
        hostname: str,
        counts: Counts,
        active: Callable[[], int],
        alive: Callable[[], bool],
        lengths: Callable[[], Mapping[str, int]],
        breakers: Callable[[], Mapping[str, Standing]],
    ) -> None:
        """Take the sources.

        Args:
            hostname: The worker's name.
            counts: What became of its tasks.
            active: How many run now.
            alive: Whether the worker is healthy.
            lengths: How long its queues are.
            breakers: The circuit breakers, fleet-wide.
        """
        self._hostname, self._counts, self._active, self._alive = hostname, counts, active, alive
        self._lengths, self._breakers = lengths, breakers

    def text(self) -> str:
        """In the format that Prometheus reads."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry).decode()

    def describe(self) -> Iterable[Metric]:
        """Nothing: there is one collector, whose names cannot collide."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Every metric."""
        yield from self._tasks()
        yield _histogram("celery_task_runtime", "Seconds that tasks ran that succeeded.", self._counts.runtimes)
        yield _histogram(
            "celery_task_duration_seconds",
            "Seconds from a task's start to its end as its worker saw it, however it ended.",
            self._counts.durations,
        )
        total = CounterMetricFamily("celery_tasks", "Tasks of this worker by how they ended.", labels=("status",))
        for status, number in self._counts.by_status():
            total.add_metric((status,), number)
        yield total
        yield from self._worker()
        yield from _transport(self._hostname)
        yield from _of_breakers(self._breakers())

    def _tasks(self) -> Iterable[Metric]:
        steps = dict(self._counts.steps)
        for step in STEPS:
            if step == "failed":
                continue
            family = CounterMetricFamily(f"celery_task_{step}", _TASKS[step], labels=LABELS)
            for (one, labels), number in steps.items():
                if one == step:
                    family.add_metric(labels, number)
            yield family
        failed = CounterMetricFamily("celery_task_failed", _TASKS["failed"], labels=(*LABELS, "exception"))
        for (labels, exception), number in dict(self._counts.failures).items():
            failed.add_metric((*labels, exception), number)
        yield failed

    def _worker(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("celery_worker_up", "Whether the worker is healthy.", labels=("hostname",))
        up.add_metric((self._hostname,), float(self._alive()))
        yield up
        active = GaugeMetricFamily("celery_worker_tasks_active", "Tasks that run now.", labels=("hostname",))
        active.add_metric((self._hostname,), self._active())
        yield active
        length = GaugeMetricFamily("celery_queue_length", "Messages that could run now.", labels=("queue_name",))
        for queue, number in self._lengths().items():
            length.add_metric((queue,), number)
        yield length


def _histogram(name: str, text: str, values: Mapping[Labels, Durations]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=LABELS)
    for labels, durations in dict(values).items():
        family.add_metric(labels, durations.cumulative(), durations.total)
    return family


def _of_breakers(standings: Mapping[str, Standing]) -> Iterable[Metric]:
    is_open = GaugeMetricFamily("celery_breaker_open", "Whether calls are held back, fleet-wide.", labels=("name",))
    failures = GaugeMetricFamily("celery_breaker_failures", "Failures in a row, fleet-wide.", labels=("name",))
    opened = CounterMetricFamily("celery_breaker_opened", "How often it opened, fleet-wide.", labels=("name",))
    refused = CounterMetricFamily("celery_breaker_refused", "Calls not made, fleet-wide.", labels=("name",))
    for name, standing in standings.items():
        is_open.add_metric((name,), float(standing.open))
        failures.add_metric((name,), standing.failures)
        opened.add_metric((name,), standing.opened)
        refused.add_metric((name,), standing.refused)
    return (is_open, failures, opened, refused)


#: What goes up and down among the transport's counters.
_GAUGES: Final = ("shards_down",)


def _transport(hostname: str) -> Iterable[Metric]:
    stats = transport_stats()
    for one in fields(TransportStats):
        kind = GaugeMetricFamily if one.name in _GAUGES else CounterMetricFamily
        family = kind(f"celery_transport_{one.name}", "See TransportStats of the transport.", labels=("hostname",))
        family.add_metric((hostname,), getattr(stats, one.name))
        yield family
