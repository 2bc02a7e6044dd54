"""The monitor: metrics from statistics, and what it survives."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from service import fleet
from service.fleet import QUEUE_NAMES
from service.metrics import metric_data
from service.monitor import Monitor

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True)
class State:
    """A queue's statistics."""

    depth: int = 3
    delayed: int = 2
    leased: int = 1
    dead: int = 4
    oldest_age: float = 1.5
    acked: int = 0
    recovered: int = 0
    buried: int = 0


class CloudWatch:
    """Keeps what is published; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.requests: list[tuple[str, list[dict[str, Any]]]] = []
        self.published = threading.Event()
        self.failures = failures

    def put_metric_data(self, *, Namespace: str, MetricData: Sequence[Any]) -> None:  # noqa: N803
        """Record one request."""
        if self.failures:
            self.failures -= 1
            raise EndpointConnectionError(endpoint_url="http://cloudwatch")
        self.requests.append((Namespace, list(MetricData)))
        self.published.set()


def queues_in(data: list[dict[str, Any]]) -> set[str]:
    """The queues that a request is about."""
    return {entry["Dimensions"][1]["Value"] for entry in data}


def test_metric_data() -> None:
    """Five metrics for a queue, in high resolution, with both dimensions."""
    data = metric_data("shop", {"celery": State()}, NOW)
    assert {entry["MetricName"]: (entry["Value"], entry["Unit"]) for entry in data} == {
        "QueueDepth": (3.0, "Count"),
        "QueueDelayed": (2.0, "Count"),
        "QueueLeased": (1.0, "Count"),
        "QueueDead": (4.0, "Count"),
        "OldestMessageAge": (1.5, "Seconds"),
    }
    dimensions = [{"Name": "Stack", "Value": "shop"}, {"Name": "Queue", "Value": "celery"}]
    assert all(entry["Dimensions"] == dimensions for entry in data)
    assert all(entry["StorageResolution"] == 1 and entry["Timestamp"] == NOW for entry in data)


def test_what_happened_between_two_beats_is_published_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """What came back, was done and failed, each as a metric; a queue that was made anew begins at zero."""
    readings = iter([State(recovered=5, buried=1, acked=9), State(recovered=8, buried=3, dead=2, acked=16), State()])
    cloudwatch = CloudWatch()
    monitor = Monitor("shop", lambda _: next(readings), cloudwatch, queues=("celery",))
    for _ in range(3):
        monitor.publish()
    names = (fleet.METRIC_RECOVERED, fleet.METRIC_DONE, fleet.METRIC_FAILED)
    published = [
        {entry["MetricName"]: entry["Value"] for entry in data if entry["MetricName"] in names}
        for _, data in cloudwatch.requests
    ]
    assert published == [
        {},
        {fleet.METRIC_RECOVERED: 3.0, fleet.METRIC_DONE: 7.0, fleet.METRIC_FAILED: 2.0},
        {fleet.METRIC_RECOVERED: 0.0, fleet.METRIC_DONE: 0.0, fleet.METRIC_FAILED: 0.0},
    ]
    assert caplog.messages == [
        "queue celery: 3 messages came back, their holders stopped renewing leases",
        "queue celery: 2 messages moved to the dead list, 2 are there",
    ]


def test_what_was_not_published_is_counted_at_the_next_beat() -> None:
    readings = iter([State(acked=1), State(acked=5), State(acked=7)])
    cloudwatch = CloudWatch()
    monitor = Monitor("shop", lambda _: next(readings), cloudwatch, queues=("celery",))
    monitor.publish()
    cloudwatch.failures = 1
    monitor.publish()
    monitor.publish()
    _, data = cloudwatch.requests[-1]
    assert [entry["Value"] for entry in data if entry["MetricName"] == fleet.METRIC_DONE] == [6.0]


def test_one_request_for_all_queues() -> None:
    """The six and the dead letters."""
    cloudwatch = CloudWatch()
    Monitor("shop", lambda _: State(), cloudwatch).publish()
    ((namespace, data),) = cloudwatch.requests
    assert namespace == fleet.METRIC_NAMESPACE
    assert queues_in(data) == set(QUEUE_NAMES)
    assert len(data) == 5 * len(QUEUE_NAMES) <= 1000


def test_a_queue_that_cannot_be_read_is_absent() -> None:
    """Not zero: an alarm must see that the value is missing, and the others go on."""

    def read(name: str) -> State:
        if name == "celery":
            raise ConnectionError("failover")
        return State()

    cloudwatch = CloudWatch()
    Monitor("shop", read, cloudwatch, queues=("celery", "data_queue")).publish()
    assert queues_in(cloudwatch.requests[0][1]) == {"data_queue"}


def test_a_queue_that_does_not_answer_holds_up_no_other() -> None:
    """It is read once at a time and is back as soon as it answers."""
    answer = threading.Event()
    reads: list[str] = []

    def read(name: str) -> State:
        reads.append(name)
        if name == "celery":
            answer.wait(60)
        return State()

    cloudwatch = CloudWatch()
    monitor = Monitor("shop", read, cloudwatch, queues=("celery", "data_queue"), period=4)
    monitor.publish()
    monitor.publish()
    assert [queues_in(data) for _, data in cloudwatch.requests] == [{"data_queue"}, {"data_queue"}]
    assert reads.count("celery") == 1
    answer.set()
    monitor.publish()
    assert queues_in(cloudwatch.requests[2][1]) == {"celery", "data_queue"}


@pytest.mark.usefixtures("own_tmp")
def test_it_survives_a_cloudwatch_that_fails_and_stops_when_told() -> None:
    """Two beats fail, the third arrives; stopping does not wait for the next beat."""
    cloudwatch = CloudWatch(failures=2)
    monitor = Monitor("shop", lambda _: State(), cloudwatch, queues=("celery",), period=0.05)
    thread = threading.Thread(target=monitor.run)
    thread.start()
    assert cloudwatch.published.wait(60)
    monitor.stopping.set()
    thread.join(30)
    assert not thread.is_alive()


def test_nothing_read_publishes_nothing() -> None:
    """A request without data would be refused."""

    def read(_: str) -> State:
        raise ConnectionError("down")

    cloudwatch = CloudWatch()
    Monitor("shop", read, cloudwatch, queues=("celery",)).publish()
    assert cloudwatch.requests == []
