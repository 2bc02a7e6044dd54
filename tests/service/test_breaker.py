"""The circuit breaker: one state for the whole fleet, one probe at a time, and tasks that come back by themselves."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pytest
from celery import Celery, chain

from scripts.localcluster import LocalCluster
from service import fleet
from service.breaker import BreakerOpenError, guarded
from service.breaker.call import _Away, call
from service.breaker.shared import KEY, MEMORY, Breakers, Rules, standings
from service.health.counting import Counts
from service.health.exposition import WorkerMetrics
from service.rediscluster.cluster import Cluster
from service.rediscluster.options import parse
from tests.rediscluster.faultkit import eventually
from tests.service.running import client, container, environment

RULES = Rules(failures=5, seconds=60)
TROUBLE = (ConnectionError,)


class Worker:
    """A process of the fleet, as far as the breaker goes: connections of its own."""

    def __init__(self, cluster: LocalCluster, rules: Rules = RULES) -> None:
        url = f"rediscluster://{cluster.username}:{cluster.password}@127.0.0.1:{cluster.primaries[0].port}"
        self.cluster = Cluster(parse(url, {"key_prefix": fleet.BROKER_PREFIX}))
        self.breakers = Breakers(self.cluster, rules)

    def call(self, name: str, function: Callable[[], object] = lambda: "answer") -> object:
        return call(self.breakers, name, TROUBLE, function)

    def fail(self, name: str) -> None:
        with pytest.raises(ConnectionError):
            self.call(name, fail)


def fail() -> None:
    raise ConnectionError("down")


@contextmanager
def workers(cluster: LocalCluster, number: int = 2, rules: Rules = RULES) -> Iterator[list[Worker]]:
    made = [Worker(cluster, rules) for _ in range(number)]
    try:
        yield made
    finally:
        for one in made:
            one.cluster.close()


@pytest.fixture
def name() -> str:
    return f"service-{uuid4().hex[:8]}"


def refused(worker: Worker, name: str) -> float:
    """The call is not made; the seconds that it says to wait."""
    with pytest.raises(BreakerOpenError) as caught:
        worker.call(name, lambda: pytest.fail("it was called"))
    return caught.value.seconds


def pass_time(worker: Worker, name: str, seconds: float = RULES.seconds) -> None:
    """Make a breaker's state so much older that the next call is the probe."""
    state, since, rest = worker.cluster.call(KEY, "HGET", KEY, name).decode().split(" ", 2)
    worker.cluster.call(KEY, "HSET", KEY, name, f"{state} {int(since) - int(seconds * 1000)} {rest}")


@pytest.fixture(autouse=True)
def nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Away, "until", 0.0)


def test_it_opens_after_five_failures_of_the_whole_fleet(cluster: LocalCluster, name: str) -> None:
    with workers(cluster, 3) as (one, two, watching):
        for worker in (one, two, one, two):
            worker.fail(name)
        assert watching.call(f"{name}-other") == "answer"
        one.fail(name)
        for worker in (one, two, watching):
            assert 0 < refused(worker, name) <= RULES.seconds


def test_a_success_in_between_begins_the_count_anew(cluster: LocalCluster, name: str) -> None:
    with workers(cluster) as (one, two):
        for _ in range(4):
            one.fail(name)
        assert two.call(name) == "answer"
        for _ in range(4):
            one.fail(name)
        assert two.call(name) == "answer"


def test_other_errors_mean_that_the_outside_answered(cluster: LocalCluster, name: str) -> None:
    with workers(cluster, 1) as (one,):
        for _ in range(4):
            one.fail(name)
        with pytest.raises(ZeroDivisionError):
            one.call(name, lambda: 1 / 0)
        for _ in range(4):
            one.fail(name)
        assert one.call(name) == "answer"


def test_a_call_that_is_broken_off_says_nothing(cluster: LocalCluster, name: str) -> None:
    def broken_off() -> None:
        raise SystemExit

    with workers(cluster, 1) as (one,):
        for _ in range(4):
            one.fail(name)
        with pytest.raises(SystemExit):
            one.call(name, broken_off)
        one.fail(name)
        refused(one, name)


def test_one_probe_of_the_whole_fleet_and_its_success_closes(cluster: LocalCluster, name: str) -> None:
    with workers(cluster, 4) as fleet_of_four, ThreadPoolExecutor(12) as threads:
        for _ in range(5):
            fleet_of_four[0].fail(name)
        pass_time(fleet_of_four[0], name)
        begin, others_refused = threading.Barrier(12), threading.Event()
        probes: list[int] = []

        def attempt(number: int) -> bool:
            def probe() -> None:
                probes.append(number)
                assert others_refused.wait(60)

            begin.wait()
            try:
                fleet_of_four[number % 4].call(name, probe)
            except BreakerOpenError:
                return False
            return True

        attempts = [threads.submit(attempt, number) for number in range(12)]
        eventually(lambda: sum(one.done() for one in attempts) == 11, "all but the probe are refused")
        others_refused.set()
        assert sum(one.result() for one in attempts) == 1
        assert len(probes) == 1
        assert all(worker.call(name) == "answer" for worker in fleet_of_four)


def test_a_probe_that_fails_opens_it_again(cluster: LocalCluster, name: str) -> None:
    with workers(cluster) as (one, two):
        for _ in range(5):
            one.fail(name)
        pass_time(one, name)
        two.fail(name)
        assert refused(one, name) > RULES.seconds / 2


def test_a_probe_that_never_ends_does_not_hold_the_others_for_ever(cluster: LocalCluster, name: str) -> None:
    with workers(cluster) as (one, two):
        for _ in range(5):
            one.fail(name)
        pass_time(one, name)
        lost = one.breakers.enter(name)
        assert lost.state == "probe"
        refused(two, name)
        pass_time(one, name)
        two.fail(name)
        # What the first probe found out at last is not about this state.
        assert one.breakers.succeeded(name, lost.since).state == "changed"
        refused(two, name)


def test_calls_from_before_it_opened_change_nothing_after(cluster: LocalCluster, name: str) -> None:
    with workers(cluster) as (one, two):
        early = [one.breakers.enter(name) for _ in range(2)]
        for _ in range(5):
            two.fail(name)
        assert one.breakers.failed(name, early[0].since).state == "changed"
        assert one.breakers.succeeded(name, early[1].since).state == "changed"
        refused(two, name)


def test_calls_of_one_process_run_at_the_same_time(cluster: LocalCluster, name: str) -> None:
    together = threading.Barrier(5)
    with workers(cluster, 1) as (one,), ThreadPoolExecutor(5) as threads:
        calls = [threads.submit(one.call, name, lambda: together.wait(60)) for _ in range(5)]
        assert sorted(call.result() for call in calls) == [0, 1, 2, 3, 4]  # type: ignore[type-var]


def test_each_change_is_said_once(cluster: LocalCluster, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.breaker")
    with workers(cluster) as (one, two):
        for worker in (one, two, one, two, one):
            worker.fail(name)
        refused(two, name)
        pass_time(one, name)
        assert two.call(name) == "answer"
        assert one.call(name) == "answer"
    said = [record.getMessage() for record in caplog.records if record.name.startswith("service.breaker")]
    assert said == [
        f"breaker {name}: open for 60 s, the last call failed with ConnectionError",
        f"breaker {name}: half-open, this call tries",
        f"breaker {name}: closed, the call succeeded",
    ]


def test_metrics_tell_the_state_of_the_fleet(cluster: LocalCluster, name: str) -> None:
    with workers(cluster) as (one, two):
        for _ in range(5):
            one.fail(name)
        refused(two, name)
        found = standings(two.cluster)
        text = WorkerMetrics("me", Counts(), lambda: 0, lambda: True, dict, lambda: found).text()
    for line in ("open", "opened_total", "refused_total"):
        assert f'celery_breaker_{line}{{name="{name}"}} 1.0' in text
    assert f'celery_breaker_failures{{name="{name}"}} 5.0' in text


def remembered(worker: Worker, name: str, state: str, seconds: float) -> None:
    """Store a breaker as it was so long ago."""
    then = int((time.time() - seconds) * 1000)
    worker.cluster.call(KEY, "HSET", KEY, name, f"{state} {then}")


def test_a_breaker_that_is_not_used_for_a_day_is_forgotten(cluster: LocalCluster, name: str) -> None:
    unused, used = f"{name}-unused", f"{name}-used"
    with workers(cluster) as (one, two):
        remembered(one, unused, "closed 0 4 0 0", MEMORY + 60)
        remembered(one, used, "closed 0 4 0 0", MEMORY - 60)
        found = standings(one.cluster)
        assert unused not in found
        assert found[used].failures == 4
        one.fail(unused)
        assert two.call(unused) == "answer", "its failures were forgotten"
        one.fail(used)
        refused(two, used)


def test_breakers_that_are_not_used_take_no_room_whether_or_not_one_opens(cluster: LocalCluster, name: str) -> None:
    with workers(cluster, 1) as (one,):
        for number in range(100):
            remembered(one, f"{name}-{number}", "closed 0 1 0 0", MEMORY + 60)
        # As an hour after the breakers were last looked through.
        one.cluster.call(KEY, "PEXPIRE", KEY, int((MEMORY - 1) * 1000))
        one.fail(name)
        assert one.call(name) == "answer"
        left = {field.decode() for field in one.cluster.call(KEY, "HKEYS", KEY)}
        assert {field for field in left if field.startswith(name)} == {name}
        assert one.cluster.call(KEY, "PTTL", KEY) >= MEMORY * 1000, "what is used is kept for a day"


def test_without_its_state_calls_are_made_unguarded(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    breakers = Breakers(Cluster(parse("rediscluster://127.0.0.1:1", {})), RULES)
    enter = mock.Mock(side_effect=breakers.enter)
    monkeypatch.setattr(breakers, "enter", enter)
    monkeypatch.setattr("service.breaker.call.LEAVE_ALONE", 3600.0)
    for _ in range(6):
        with pytest.raises(ConnectionError):
            call(breakers, name, TROUBLE, fail)
    assert call(breakers, name, TROUBLE, lambda: "answer") == "answer"
    enter.assert_called_once_with(name)  # Only the first call waits.
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("service.breaker")]
    assert line.startswith(f"breaker {name}: its state cannot be reached, calls are made unguarded")


def test_on_another_broker_calls_are_made_unguarded() -> None:
    with Celery("alone", broker="memory://", set_as_current=True) as app:
        app.set_current()
        for _ in range(6):
            with pytest.raises(ConnectionError):
                guarded("x", TROUBLE, fail)


@pytest.mark.parametrize("pool", ["gevent", pytest.param("prefork", marks=pytest.mark.slow)])
def test_tasks_that_meet_an_open_breaker_return_later_with_all_their_retries(
    cluster: LocalCluster, tmp_path: Path, pool: str
) -> None:
    app = client(cluster)
    task = "tests.service.sick.call_outside"
    values = environment(
        cluster,
        tmp_path,
        FLEET_POOL=pool,
        FLEET_CONCURRENCY="2",
        FLEET_QUEUES="sync_queue,celery",
        FLEET_TASK_MODULES="service.tasks,tests.service.sick",
        FLEET_BREAKER_FAILURES="2",
        FLEET_BREAKER_SECONDS="10",
    )
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        for _ in range(2):
            with pytest.raises(Exception, match="refused"):
                app.send_task(task, args=(port,), queue="sync_queue").get(timeout=60)
        waiting = [app.send_task(task, args=(port,), queue="sync_queue") for _ in range(3)]
        chained = chain(
            app.signature(task, args=(port,), queue="sync_queue"),
            app.signature("service.tasks.default.digest_text", args=("one two",), immutable=True),
        )()
        eventually(lambda: {one.state for one in waiting} == {"RETRY"}, "all of them wait")
        with socket.create_server(("127.0.0.1", port)):
            assert [one.get(timeout=60) for one in waiting] == [0, 0, 0]
            assert chained.get(timeout=60)["words"] == 2
        assert worker.stop(60) == 0
    log = worker.log.read_text()
    assert f"breaker outside:{port}: open for 10 s, the last call failed with ConnectionRefusedError" in log
    assert f"breaker outside:{port}: closed" in log
