"""Workers and clients that are killed, frozen and stopped: nothing is lost, and only what they held runs again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from celery import Celery
from kombu import Connection, Producer, Queue
from redis import exceptions

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector
from tests.rediscluster.faultapp import Plan, make_app
from tests.rediscluster.faultkit import (
    PATIENCE,
    ROOT,
    Workers,
    direct,
    end_leases,
    eventually,
    read_ledger,
    take_all,
    verdict,
)

#: Seconds: where a test does not wait for its end, it outlasts a worker that stands still, and the test ends it.
LEASE, NEVER = 15.0, 600.0

#: Warm stops, and tasks that are sent before each.
STOPS, PER_STOP = 8, 100

MakePlan = Callable[..., Plan]


@pytest.fixture
def make_plan(cluster: LocalCluster, tmp_path: Path) -> MakePlan:
    def make(**options: Any) -> Plan:
        options = {"lease": NEVER, "idle_timeout": 2.0} | options
        return Plan(cluster.url, str(tmp_path), f"faults-{uuid4().hex}", options)

    return make


def send(app: Celery, task: str, numbers: range, *args: Any) -> None:
    for number in numbers:
        app.send_task(task, (number, *args), ignore_result=True)


def done(plan: Plan) -> set[int]:
    return {entry.number for entry in read_ledger(plan) if entry.event == "done"}


def test_killed_workers_lose_nothing(make_plan: MakePlan, workers: Workers) -> None:
    plan = make_plan()
    sent = range(160)
    app = make_app(plan)
    send(app, "slow", range(100), 0.02)
    current = workers(plan)
    killed = []
    for wanted in (20, 60, 90):
        following = workers.launch(plan)
        eventually(lambda wanted=wanted: len(done(plan)) >= wanted, f"{wanted} tasks are done")  # type: ignore[misc]
        current.kill()
        with direct(plan.url, plan.queue) as (broker, keys):
            end_leases(broker, keys, current.name)
        killed.append(current)
        current = following.wait_ready()
    send(app, "slow", range(100, 160), 0.02)
    eventually(lambda: not (set(sent) - done(plan)), "all tasks are done")
    held = set().union(*(worker.began() for worker in killed))
    verdict("three workers killed with their pools", sent, plan).demand(may_run_twice=held)
    begins: dict[int, list[int]] = {}
    for entry in read_ledger(plan):
        if entry.event == "began":
            begins.setdefault(entry.number, []).append(entry.worker)
    dead = {worker.pid for worker in killed}
    wrong = {number: by for number, by in begins.items() if set(by[:-1]) - dead}
    assert not wrong, f"three workers {dead} killed: of {len(sent)} sent, taken from workers that lived: {wrong}"


def test_a_pool_process_that_dies_again_and_again_is_given_up(
    make_plan: MakePlan, workers: Workers, inspector: BrokerInspector
) -> None:
    plan = make_plan(delivery_limit=1)
    app = make_app(plan)
    workers(plan)
    app.send_task("die", (1, 99), ignore_result=True)
    app.send_task("die", (2, 1), ignore_result=True)
    app.send_task("record", (3,), ignore_result=True)
    eventually(lambda: inspector.stats(plan.queue).dead == 1, "the deadly task is on the dead list")
    eventually(lambda: done(plan) >= {2, 3}, "the others are done")
    runs = [entry.number for entry in read_ledger(plan) if entry.event == "began"]
    told = f"killed the pool process in task 1 for ever and in task 2 once: began {runs}"
    assert runs.count(1) == 2, f"{told}; a delivery limit of 1 means two runs"
    assert runs.count(2) == 2, told
    assert runs.count(3) <= 2, told
    with direct(plan.url, plan.queue) as (broker, keys):
        (member,) = broker.cluster.call(keys.dead, "ZRANGE", keys.dead, 0, 0)
    assert member.startswith(b"delivery-limit "), f"{told}; reason on the dead list: {member[:40]!r}"


def test_a_frozen_worker_changes_nothing_when_it_wakes(
    make_plan: MakePlan, workers: Workers, inspector: BrokerInspector
) -> None:
    plan = make_plan()
    app = make_app(plan)
    frozen = workers(plan, "solo")
    app.send_task("wait", (1,), ignore_result=True)
    eventually(lambda: 1 in frozen.began(), "the first worker has the task")
    frozen.signal_group(signal.SIGSTOP)
    with direct(plan.url, plan.queue) as (broker, keys):
        end_leases(broker, keys)
    second = workers(plan, "solo")
    eventually(lambda: 1 in second.began(), "the second worker has the task after the lease of the frozen one")
    frozen.open_gate()
    frozen.signal_group(signal.SIGCONT)
    # Sent with the late ack, or after it.
    app.send_task("record", (2,), ignore_result=True)
    eventually(lambda: 2 in done(plan), "the worker that was frozen goes on working")
    told = f"froze a worker until its lease had ended: ledger {read_ledger(plan)}"
    eventually(lambda: inspector.stats(plan.queue).leased == 1, f"the second worker still holds the task. {told}")
    # Proves that the second lease was really still there: its end brings the message back.
    second.kill()
    with direct(plan.url, plan.queue) as (broker, keys):
        end_leases(broker, keys)
    eventually(
        lambda: (
            [e.worker for e in read_ledger(plan) if e.event == "began" and e.number == 1]
            == [frozen.pid, second.pid, frozen.pid]
        ),
        f"the message of the killed second worker comes back to the first. {told}",
    )
    eventually(lambda: inspector.stats(plan.queue).leased == 0, "everything is acknowledged")
    assert inspector.stats(plan.queue).depth == 0
    verdict("froze a worker, then killed its successor", (1, 2), plan).demand(may_run_twice=(1,))


# A renewal comes after a third of a lease.
@pytest.mark.parametrize("leases", [0.2, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("pool", "task"), [("prefork", "wait"), ("solo", "spin")])
def test_a_task_of_many_leases_stays_with_its_worker(
    pool: str, task: str, leases: float, make_plan: MakePlan, workers: Workers, inspector: BrokerInspector
) -> None:
    plan = make_plan(lease=LEASE)
    app = make_app(plan)
    worker = workers(plan, pool, 1)
    app.send_task(task, (1,), ignore_result=True)
    eventually(lambda: 1 in worker.began(), "the task runs")
    with direct(plan.url, plan.queue, lease=LEASE) as (broker, keys):

        def deadline() -> float:
            # Asking for messages is what recovers lost ones: this is the other worker that waits for its chance.
            stolen = []
            with contextlib.suppress(exceptions.TimeoutError):
                # As if repeated: what an answer that was too late brought comes again.
                stolen = broker.settle(keys, "competitor", 1, 1, attempt=1).deliveries
            assert not stolen, f"{pool}: the message was given away while its worker lives: {worker.log.read_text()}"
            _, score = broker.cluster.call(keys.leases, "ZRANGE", keys.leases, 0, 0, "WITHSCORES")
            return float(score)

        first = deadline()
        ends = first + leases * LEASE * 1000
        eventually(lambda: deadline() > ends, f"{pool}: the lease is prolonged by {leases}", PATIENCE + leases * LEASE)
    worker.open_gate()
    eventually(lambda: inspector.stats(plan.queue).leased == 0, "the task is acknowledged")
    verdict(f"task {task} ran for several leases on {pool}", (1,), plan, "began").demand()
    assert inspector.stats(plan.queue).recovered == 0


@pytest.mark.slow
def test_a_rate_limit_holds_on_each_worker_and_loses_nothing(
    make_plan: MakePlan, workers: Workers, inspector: BrokerInspector
) -> None:
    plan = make_plan(lease=LEASE)
    app = make_app(plan)
    both = [workers.launch(plan), workers.launch(plan)]
    for worker in both:
        worker.wait_ready()
    replies = app.control.rate_limit("record", "1/h", reply=True, timeout=30, limit=2)
    assert len(replies or ()) == 2, replies
    send(app, "record", range(8))
    eventually(lambda: len(done(plan)) == 2, "each worker did one")
    # Held back for more than a lease, they stay with their worker.
    eventually(lambda: inspector.stats(plan.queue).leased == 6, "all others wait in the workers")
    send(app, "slow", range(8, 10), 1.5 * LEASE)
    eventually(lambda: {8, 9} <= done(plan), "tasks without a limit are done meanwhile", PATIENCE + 1.5 * LEASE)
    assert len(done(plan)) == 4
    app.close()
    # What a limit holds back goes to whoever has none.
    workers.launch(plan)
    for worker in both:
        assert worker.stop() == 0, worker.log.read_text()
    eventually(lambda: done(plan) == set(range(10)), "all are done")
    verdict("a rate limit on two workers", range(10), plan).demand()


@pytest.mark.parametrize("way", ["warm", "cold"])
def test_a_stopped_worker_gives_back_what_it_did_not_finish(
    way: str, make_plan: MakePlan, workers: Workers, inspector: BrokerInspector
) -> None:
    plan = make_plan()
    app = make_app(plan)
    worker = workers(plan, concurrency=2, **({"REMAP_SIGTERM": "SIGQUIT"} if way == "cold" else {}))
    send(app, "wait", range(6))
    eventually(lambda: len(worker.began()) == 2, "two tasks run")
    eventually(lambda: inspector.stats(plan.queue).leased == 4, "two more wait in the worker")
    worker.process.send_signal(signal.SIGTERM)
    if way == "warm":
        eventually(lambda: inspector.stats(plan.queue).leased < 4, "the worker stops consuming")
        worker.open_gate()
    status = worker.wait()
    told = f"{way} shutdown with two of six tasks running, exit status {status}: ledger {read_ledger(plan)}"
    if way == "warm":
        assert status == 0, told
    stats = inspector.stats(plan.queue)
    assert stats.leased == 0, f"{told}; {stats.leased} are held by nobody"
    back = take_all(plan.url, plan.queue)
    assert len(done(plan)) + len(back) == 6, f"{told}; only {len(back)} came back"
    assert not (way == "cold" and done(plan)), told
    assert [delivery.losses for delivery in back] == [0] * len(back), f"{told}; a return at shutdown must not count"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_warm_stops_in_the_moment_of_dispatch_run_nothing_twice(make_plan: MakePlan, workers: Workers) -> None:
    # Tasks of no length: at any moment a pool process is being given one.
    plan = make_plan()
    app = make_app(plan)
    following = workers.launch(plan, concurrency=4)
    for stop in range(STOPS):
        send(app, "record", range(PER_STOP * stop, PER_STOP * (stop + 1)))
        current = following.wait_ready()
        following = workers.launch(plan, concurrency=4)
        wanted = PER_STOP * (stop + 1) // (STOPS + 1)
        eventually(lambda: len(current.began()) >= wanted, "the worker is busy")  # noqa: B023
        assert current.stop() == 0
        log = current.log.read_text()
        assert "could not ensure all messages were consumed" not in log, f"a process waited for the end of time:\n{log}"
    following.wait_ready()
    sent = range(PER_STOP * STOPS)
    eventually(lambda: not verdict("", sent, plan).lost, "all tasks are done", 4 * PATIENCE)
    verdict(f"{STOPS} warm stops under load", sent, plan, "began").demand()


def test_a_large_task_of_which_a_process_has_a_part_is_finished(
    make_plan: MakePlan, workers: Workers, inspector: BrokerInspector
) -> None:
    plan = make_plan()
    app = make_app(plan)
    worker = workers(plan, concurrency=1)
    app.send_task("record", (0,), ignore_result=True)
    eventually(lambda: done(plan) == {0}, "its process has started")
    (process,) = psutil.Process(worker.pid).children()
    process.suspend()
    # More than its pipe holds.
    app.send_task("record", (1, "x" * 1_000_000), ignore_result=True)
    eventually(lambda: inspector.stats(plan.queue).leased == 1, "the worker has the task")
    eventually(lambda: pipe_is_full(process.pid), "the process has a part of it")
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.log.read_text(), "the worker was told to stop")
    process.resume()
    assert worker.wait() == 0
    assert [entry.event for entry in read_ledger(plan) if entry.number == 1] == ["began", "done"]
    assert (inspector.stats(plan.queue).depth, inspector.stats(plan.queue).leased) == (0, 0)


def pipe_is_full(process: int) -> bool:
    """Whether more waits in a pipe of the process than an ordinary task takes."""
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        if str(descriptor.readlink()).startswith("pipe:"):
            with contextlib.suppress(OSError), descriptor.open("rb", buffering=0) as pipe:
                waiting = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
                if int.from_bytes(waiting, sys.byteorder) > 16_000:
                    return True
    return False


HOLD = """
import sys, time
from kombu import Connection, Consumer, Queue
import service.rediscluster
with Connection(sys.argv[1], transport_options={"lease": float(sys.argv[3])}) as connection:
    held = []
    with Consumer(connection, [Queue(sys.argv[2])], on_message=held.append, prefetch_count=3):
        while len(held) < 3:
            connection.drain_events(timeout=30)
        print("held", flush=True)
        time.sleep(600)
"""


def test_what_a_killed_client_held_comes_back_to_its_place(make_plan: MakePlan, inspector: BrokerInspector) -> None:
    plan = make_plan()
    with Connection(plan.url, transport_options=plan.options) as connection:
        queue = Queue(plan.queue)(connection.default_channel)
        queue.declare()
        producer = Producer(connection.default_channel, routing_key=plan.queue)
        for number in range(6):
            producer.publish(number, priority=5 if number < 5 else 9)
        command = [sys.executable, "-c", HOLD, plan.url, plan.queue, str(NEVER)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"held\n"
            assert inspector.stats(plan.queue).leased == 3
            os.kill(client.pid, signal.SIGKILL)
        producer.publish(6, priority=5)
        # Without the competition of a consumer the three are back before anything is taken.
        with direct(plan.url, plan.queue, lease=NEVER) as (broker, keys):
            end_leases(broker, keys)
            broker.renew(keys, [])
        assert inspector.stats(plan.queue).leased == 0, "the leases have ended"
        received: list[tuple[Any, bool]] = []
        for _ in range(7):
            message = queue.get()
            assert message is not None, f"killed a client that held 3 of 6, sent one more: got {received} and no more"
            received.append((message.payload, bool(message.headers.get("redelivered"))))
            message.ack()
    expected = [(5, True), (0, True), (1, True), (2, False), (3, False), (4, False), (6, False)]
    assert received == expected, "killed a client that held the first three of six messages"
