"""What Celery's users see: a real worker on a real cluster."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError, TimeoutError
from celery.result import AsyncResult, ResultSet

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector
from service.rediscluster.keys import task_key
from service.rediscluster.results import SLOW_READ
from tests.rediscluster.faultkit import START, come_due

QUEUE = "conformance"


@pytest.fixture(scope="module")
def tasks(cluster: LocalCluster) -> Iterator[Any]:
    """The module of the tasks, connected to the cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_CLUSTER_URL", cluster.url)
        from tests.rediscluster import celeryapp

        yield celeryapp
        celeryapp.app.close()


@pytest.fixture(scope="module")
def worker(tasks: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A worker with two processes; its log."""
    log = tmp_path_factory.mktemp("worker") / "log"
    command = [sys.executable, "-m", "celery", "-A", tasks.__name__, "worker", "-c", "2", "-E", "-l", "INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ)
    try:
        assert tasks.add.delay(1, 2).get(timeout=START) == 3, log.read_text()
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(START) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def eventually(condition: Callable[[], Any], within: float = 60.0) -> Any:
    ends = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < ends, f"did not happen within {within} s"
        time.sleep(0.02)
    return value


pytestmark = pytest.mark.usefixtures("worker")


def test_groups_chains_and_chords(tasks: Any) -> None:
    add, total = tasks.add, tasks.total
    assert group(add.s(i, i) for i in range(40))().get(timeout=60) == [2 * i for i in range(40)]
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=60) == 10
    assert chord((add.s(i, i) for i in range(40)), total.s())().get(timeout=60) == 1560


def test_canvas_nests(tasks: Any) -> None:
    add, total = tasks.add, tasks.total
    inner = chord([add.s(1, 1), add.s(2, 2)], total.s())
    assert chord([inner, add.s(10, 10)], total.s())().get(timeout=60) == 26
    assert (group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(100))().get(timeout=60) == 106
    assert tasks.nested.delay([1, 2, 3]).get(timeout=60) == 7
    assert chord([group(add.s(i, 1) for i in range(3)), add.s(5, 5)], total.s())().get(timeout=60) == 16


def test_large_arguments_and_results(tasks: Any) -> None:
    large = "x" * 10_000_000
    assert tasks.echo.delay(large).get(timeout=60) == large


def test_failures_travel(tasks: Any) -> None:
    with pytest.raises(ValueError, match="broken"):
        tasks.fail.delay("broken").get(timeout=60)
    body = chord([tasks.add.s(1, 1), tasks.fail.s("in the header")], tasks.total.s())()
    with pytest.raises(Exception, match="in the header"):
        body.get(timeout=60)


def test_retries_wait_in_the_cluster(tasks: Any) -> None:
    assert tasks.flaky.delay(3).get(timeout=60) == 3


def test_a_delayed_task_starts_at_its_time_and_takes_no_credit(tasks: Any, inspector: BrokerInspector) -> None:
    for _ in range(20):
        tasks.forgotten.apply_async(("much later",), countdown=3600)
    assert inspector.stats(QUEUE).delayed == 20
    assert tasks.add.delay(1, 1).get(timeout=60) == 2
    with tasks.app.connection() as connection:
        assert connection.default_channel.queue_purge(QUEUE) == 20
    sent = time.time()
    later = [tasks.stamp.apply_async(countdown=1.5) for _ in range(20)]
    assert min(result.get(timeout=60) - sent for result in later) >= 1.5


def test_results_are_compressed_and_expire(tasks: Any, cluster: LocalCluster) -> None:
    result = tasks.echo.delay("x" * 10_000)
    assert result.get(timeout=60) == "x" * 10_000
    key = task_key("result:", result.id)
    admin = cluster.admin(cluster.primary_for(key))
    assert 0 < admin.ttl(key) <= 600
    assert 10 < admin.strlen(key) < 1000
    assert AsyncResult(result.id, app=tasks.app).state == "SUCCESS"
    result.forget()
    assert not admin.exists(key)


def test_ignored_results_leave_nothing(tasks: Any, cluster: LocalCluster, inspector: BrokerInspector) -> None:
    before = inspector.stats(QUEUE).acked
    result = tasks.forgotten.delay("x")
    eventually(lambda: inspector.stats(QUEUE).acked > before)
    key = task_key("result:", result.id)
    assert not cluster.admin(cluster.primary_for(key)).exists(key)


def test_a_waiter_is_told_and_does_not_poll(tasks: Any, cluster: LocalCluster) -> None:
    result = tasks.stamp.apply_async(countdown=1.0)
    admin = cluster.admin(cluster.primary_for(task_key("result:", result.id)))
    began, before = time.monotonic(), admin.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"]
    result.get(timeout=60)
    reads = admin.info("commandstats")["cmdstat_get"]["calls"] - before
    # One by the waiter before it waits, one by the worker before it stores, and the rare ones of whoever waits long.
    assert reads <= 3 + (time.monotonic() - began) // SLOW_READ


def test_nobody_is_subscribed_who_does_not_wait(tasks: Any, cluster: LocalCluster) -> None:
    waited, forgotten = tasks.add.delay(1, 2), tasks.add.delay(3, 4)
    waited.get(timeout=60)
    forgotten.forget()
    ours = {task_key("result:", result.id).encode() for result in (waited, forgotten)}

    def subscribed() -> set[Any]:
        return {name for node in cluster.primaries for name in cluster.admin(node).pubsub_shardchannels()}

    eventually(lambda: not ours & subscribed())


def test_results_that_are_not_there_are_not_waited_for_without_time(tasks: Any) -> None:
    absent = ResultSet([AsyncResult(uuid4().hex, app=tasks.app) for _ in range(3)], app=tasks.app)
    with pytest.raises(TimeoutError):
        # It would sleep for the interval.
        absent.join_native(timeout=0, interval=3600)


def test_many_results_at_once(tasks: Any) -> None:
    results = [tasks.add.delay(i, 1) for i in range(200)]
    assert [result.get(timeout=30) for result in results] == [i + 1 for i in range(200)]


def test_revoked_before_it_starts_it_never_runs(tasks: Any) -> None:
    result = tasks.stamp.apply_async(countdown=3600)
    tasks.app.control.revoke(result.id)
    eventually(lambda: any(result.id in ids for ids in (tasks.app.control.inspect(timeout=1).revoked() or {}).values()))
    with tasks.app.connection() as connection:
        broker = connection.default_channel.broker
        come_due(broker, broker.keys(QUEUE))
    with pytest.raises(TaskRevokedError):
        result.get(timeout=60)


def test_terminating_a_running_task(tasks: Any) -> None:
    result = tasks.until_stopped.delay(60)
    inspect = tasks.app.control.inspect(timeout=1)
    eventually(lambda: any(task["id"] == result.id for active in (inspect.active() or {}).values() for task in active))
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=60)


def test_expired_tasks_do_not_run(tasks: Any) -> None:
    result = tasks.add.apply_async((1, 1), countdown=0.5, expires=0.1)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=60)


def test_inspect_and_control(tasks: Any) -> None:
    app: Celery = tasks.app
    answers: Any = app.control.ping(timeout=30, limit=1)
    [[name]] = answers
    inspect: Any = app.control.inspect([name], timeout=30)
    assert inspect.ping() == {name: {"ok": "pong"}}
    assert set(inspect.registered()[name]) >= {tasks.add.name, tasks.total.name}
    assert [queue["name"] for queue in inspect.active_queues()[name]] == [QUEUE]
    assert inspect.stats()[name]["pool"]["max-concurrency"] == 2
    assert inspect.scheduled() == {name: []}
    app.control.rate_limit(tasks.add.name, "100/s", destination=[name], reply=True)
    assert tasks.add.delay(2, 2).get(timeout=60) == 4
    app.control.rate_limit(tasks.add.name, "0", destination=[name], reply=True)


def test_consumers_can_be_added_and_cancelled(tasks: Any) -> None:
    control = tasks.app.control
    assert control.add_consumer("aside", reply=True, timeout=30, limit=1)
    assert tasks.add.apply_async((1, 2), queue="aside").get(timeout=60) == 3
    assert control.cancel_consumer("aside", reply=True, timeout=30, limit=1)
    waiting = tasks.add.apply_async((3, 4), queue="aside")
    assert tasks.add.delay(1, 1).get(timeout=60) == 2
    assert waiting.state == "PENDING"
    control.add_consumer("aside", reply=True, timeout=30, limit=1)
    assert waiting.get(timeout=60) == 7
    control.cancel_consumer("aside", reply=True, timeout=30, limit=1)


def test_events_arrive(tasks: Any) -> None:
    seen: list[dict[str, Any]] = []
    with tasks.app.connection() as connection:
        receiver = tasks.app.events.Receiver(connection, handlers={"*": seen.append})
        events = receiver.itercapture(limit=None, timeout=60, wakeup=False)
        next(events)
        result = tasks.add.delay(1, 1)

        def told() -> set[str]:
            return {event["type"] for event in seen if event.get("uuid") == result.id}

        for _ in events:
            if "task-succeeded" in told():
                break
        assert result.get(timeout=60) == 2
    assert {"task-received", "task-started", "task-succeeded"} <= told()


def test_urgent_tasks_overtake(tasks: Any, inspector: BrokerInspector, tmp_path: Path) -> None:
    eventually(lambda: inspector.stats(QUEUE).leased == 0)
    gates = [tmp_path / "first", tmp_path / "last"]
    blockers = [tasks.until_there.delay(str(gate)) for gate in gates]
    eventually(lambda: inspector.stats(QUEUE).leased == 2)
    low = [tasks.stamp.apply_async(priority=1) for _ in range(4)]
    high = [tasks.stamp.apply_async(priority=9) for _ in range(4)]
    # One process does all eight: of two, one could stand still with an urgent task in its hands.
    gates[0].touch()
    starts_low = [result.get(timeout=60) for result in low]
    starts_high = [result.get(timeout=60) for result in high]
    gates[1].touch()
    for blocker in blockers:
        blocker.get(timeout=60)
    assert max(starts_high) < min(starts_low)


def test_a_task_that_nobody_knows_waits_for_somebody_who_does(tasks: Any, inspector: BrokerInspector) -> None:
    result = tasks.app.send_task("of.the.next.version", queue=QUEUE)
    eventually(lambda: inspector.stats(QUEUE).delayed == 1)
    assert result.state == "PENDING"
    assert inspector.stats(QUEUE).dead == 0
    with tasks.app.connection() as connection:
        assert connection.default_channel.queue_purge(QUEUE) == 1


def test_messages_that_nobody_may_read_are_dead_with_their_reason(tasks: Any, inspector: BrokerInspector) -> None:
    before = inspector.stats(QUEUE).dead
    tasks.add.apply_async((1, 1), serializer="yaml")
    with tasks.app.producer_or_acquire() as producer:
        producer.publish(b"\xff{", routing_key=QUEUE, content_type="application/json", content_encoding="utf-8")
    eventually(lambda: inspector.stats(QUEUE).dead == before + 2)
    with tasks.app.connection() as connection:
        broker = connection.default_channel.broker
        keys = broker.keys(QUEUE)
        reasons = {m.split(b":")[0] for m in broker.cluster.call(keys.dead, "ZRANGE", keys.dead, 0, -1) if m}
    assert {b"refused", b"undecodable"} <= reasons
    assert tasks.add.delay(1, 1).get(timeout=60) == 2


def test_purge_and_queue_length(tasks: Any, inspector: BrokerInspector) -> None:
    for number in range(5):
        tasks.add.apply_async((number, 1), queue="nobody-consumes")
    assert inspector.stats("nobody-consumes").depth == 5
    with tasks.app.connection() as connection:
        assert connection.default_channel.queue_purge("nobody-consumes") == 5
        connection.default_channel.queue_delete("nobody-consumes")


def test_a_json_message_is_stored_without_base64(tasks: Any) -> None:
    tasks.echo.apply_async(("readable-in-redis",), queue="storage")
    with tasks.app.connection() as connection:
        channel = connection.default_channel
        keys = channel.broker.keys("storage")
        [stored] = [m for m in channel.broker.cluster.call(keys.ready, "ZRANGE", keys.ready, 0, -1) if m]
        assert b"readable-in-redis" in stored
        channel.queue_delete("storage")


def test_an_idle_worker_leaves_the_cluster_alone(cluster: LocalCluster, inspector: BrokerInspector) -> None:
    eventually(lambda: inspector.stats(QUEUE).leased == 0 and inspector.stats(QUEUE).depth == 0)

    def commands() -> int:
        return sum(cluster.admin(node).info("stats")["total_commands_processed"] for node in cluster.primaries)

    own, began, before = len(cluster.primaries), time.monotonic(), commands()
    while time.monotonic() < began + 5:
        time.sleep(0.1)
    made = commands() - before - own
    # Celery's own heartbeat every 2 s, replication, and here and there a look: far from polling.
    assert made / (time.monotonic() - began) < 20
