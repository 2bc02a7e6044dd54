"""Tasks that complete once, however often they are delivered."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from scripts.localcluster import LocalCluster
from service.rediscluster.broker import Broker, Completion, Delivery
from service.rediscluster.keys import QueueKeys
from service.rediscluster.once import Task
from tests.rediscluster.faultapp import Plan, add_tasks, make_app
from tests.rediscluster.faultkit import PATIENCE, Worker, Workers, direct, end_leases, eventually, read_ledger

#: Seconds: what ends, the tests end.
LEASE = 3600.0


@pytest.fixture
def plan(cluster: LocalCluster, tmp_path: Path) -> Plan:
    return Plan(cluster.url, str(tmp_path), f"once-{uuid4().hex}", {"lease": LEASE, "idle_timeout": 2.0})


@pytest.fixture
def app(plan: Plan) -> Iterator[Celery]:
    made = make_app(plan)
    add_tasks(made)
    yield made
    made.close()


def began(plan: Plan) -> list[int]:
    return [entry.number for entry in read_ledger(plan) if entry.event == "began"]


@pytest.fixture
def queue(plan: Plan) -> Iterator[tuple[Broker, QueueKeys]]:
    with direct(plan.url, plan.queue, lease=LEASE, socket_timeout=60, once_window=600) as (broker, keys):
        broker.declare(keys)
        yield broker, keys
        broker.drop(keys)


def take(broker: Broker, keys: QueueKeys, session: str) -> Delivery:
    """Take the only message, after the lease of whoever had it."""
    end_leases(broker, keys)
    return broker.settle(keys, session, 1, 1).deliveries[0]


def test_a_task_completes_under_a_lease_that_holds_and_only_once(queue: tuple[Broker, QueueKeys]) -> None:
    broker, keys = queue
    broker.publish(keys, b"x", message_id="m", lane=uuid4().hex, number=1)
    first = take(broker, keys, "first")
    assert broker.completion(keys, first.ack.lease, "task") == state(held=True)
    second = take(broker, keys, "second")
    assert broker.completion(keys, first.ack.lease, "task") == state(held=False)
    assert broker.complete(keys, first.ack, "task", b"1") == state(held=False), "somebody else holds the message"
    assert broker.complete(keys, second.ack, "task", b"2") == state(held=True)
    assert broker.complete(keys, second.ack, "task", b"2") == state(held=True, value=b"2"), (
        "repeated after a lost reply"
    )
    assert broker.completion(keys, "another", "task") == state(held=False, value=b"2")


def test_a_late_end_counts_while_nobody_else_has_the_message(queue: tuple[Broker, QueueKeys]) -> None:
    broker, keys = queue
    broker.publish(keys, b"x", message_id="m", lane=uuid4().hex, number=1)
    late = take(broker, keys, "late")
    end_leases(broker, keys)
    broker.renew(keys, [])
    assert broker.stats(keys)[8][0] == 1, "the message came back"
    assert broker.complete(keys, late.ack, "task", b"1") == state(held=True)
    assert broker.completion(keys, "next", "task").value == b"1"


def test_completions_are_forgotten_in_time(queue: tuple[Broker, QueueKeys]) -> None:
    broker, keys = queue
    for number, task in enumerate(("old", "new", "newest")):
        broker.publish(keys, b"x", message_id=task, lane=uuid4().hex, number=1)
        delivery = broker.settle(keys, "me", 1, number + 1).deliveries[0]
        broker.complete(keys, delivery.ack, task, b"")
        broker.settle(keys, "me", 0, 1, [delivery.ack])
        if task == "old":
            call = broker.cluster.call
            call(keys.completions, "ZADD", keys.completions, 1, "old")
    assert broker.completion(keys, "any", "old").value is None
    assert broker.completion(keys, "any", "new").value == b""


def state(*, held: bool, value: bytes | None = None) -> Completion:
    return Completion(held, value)


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 2), ("threads", 2), ("gevent", 4)])
def test_two_messages_of_one_task_run_it_once(
    pool: str, concurrency: int, plan: Plan, app: Celery, workers: Workers
) -> None:
    worker = workers(plan, pool, concurrency)
    sent = app.send_task("pay", (1,))
    first = sent.get(timeout=PATIENCE)
    app.send_task("pay", (1,), task_id=sent.id, link=app.signature("record", (7,), immutable=True))
    eventually(lambda: 7 in began(plan), "what follows the second message was sent")
    assert app.AsyncResult(sent.id).get(timeout=PATIENCE) == first
    assert began(plan).count(1) == 1, worker.log.read_text()


def test_a_call_method_of_the_application_is_kept(plan: Plan, app: Celery, workers: Workers) -> None:
    workers(plan)
    sent = app.send_task("pay_called", (1,))
    first = sent.get(timeout=PATIENCE)
    app.send_task("pay_called", (1,), task_id=sent.id, link=app.signature("record", (7,), immutable=True))
    eventually(lambda: 7 in began(plan), "what follows the second message was sent")
    assert app.AsyncResult(sent.id).get(timeout=PATIENCE) == first
    assert [entry.event for entry in read_ledger(plan) if entry.number == 1] == ["called", "began", "done"]


def test_a_task_whose_worker_died_after_its_end_does_not_run_again(plan: Plan, app: Celery, workers: Workers) -> None:
    # With one process each: two would run two messages of one task at once.
    worker = workers(plan, concurrency=1)
    sent = app.send_task("pay_and_die", (1,), link=app.signature("pay", (2,), immutable=True))
    assert worker.wait() == -signal.SIGKILL
    first = app.AsyncResult(sent.id).get(timeout=PATIENCE)
    with direct(plan.url, plan.queue) as (broker, keys):
        end_leases(broker, keys)
    second = workers(plan, concurrency=1)
    eventually(lambda: "had completed before" in second.log.read_text(), "the message is delivered again")
    eventually(lambda: 2 in began(plan), "what follows the task was sent")
    assert app.AsyncResult(sent.id).get(timeout=PATIENCE) == first
    told = f"killed the worker after the end of task 1, before its ack: {read_ledger(plan)}"
    stop(second)
    assert sorted(began(plan)) == [1, 2], f"{told}: neither the task nor what follows it ran twice"


@pytest.mark.parametrize("order", [pytest.param("late", marks=pytest.mark.slow), "holder"])
def test_of_two_runs_at_once_the_holder_of_the_lease_completes(
    order: str, plan: Plan, app: Celery, workers: Workers
) -> None:
    frozen = workers(plan, "prefork", 1)
    sent = app.send_task("pay_slowly", (1,), link=app.signature("record", (2,), immutable=True))
    eventually(lambda: 1 in frozen.began(), "the first worker has the task")
    frozen.signal_group(signal.SIGSTOP)
    with direct(plan.url, plan.queue) as (broker, keys):
        end_leases(broker, keys)
    holder = workers(plan, "prefork", 1)
    eventually(lambda: 1 in holder.began(), "the second worker has the task after the lease of the frozen one")
    frozen.signal_group(signal.SIGCONT)
    told = f"froze a worker until its lease had ended, {order} first"
    for worker in (frozen, holder) if order == "late" else (holder, frozen):
        worker.open_gate()
        if worker is frozen:
            eventually(lambda: "this run does not count" in frozen.log.read_text(), f"{told}: the late one is told")
            assert sent.ready() == (order == "holder"), f"{told}: a run that does not count has no result"
        else:
            assert sent.get(timeout=PATIENCE) == f"by {holder.pid}", told
    eventually(lambda: 2 in began(plan), "what follows the task is sent")
    assert began(plan) == [1, 1, 2], told
    stop(frozen, holder)


def stop(*stopped: Worker) -> None:
    for worker in stopped:
        assert worker.stop() == 0, worker.log.read_text()[-4000:]


def nothing() -> int:
    return 1


def test_it_needs_late_acks_and_this_transport(app: Celery) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task early: once=True needs acks_late=True"):
        app.task(name="early", shared=False, once=True, acks_late=False)(nothing).run()
    other = Celery("other", broker="memory://", backend="cache+memory://", task_cls=Task, set_as_current=False)
    other.conf.task_acks_late = True
    task = other.task(name="elsewhere", shared=False, once=True)(nothing)
    task.push_request(called_directly=False, is_eager=False, properties={}, id="1")
    with pytest.raises(ImproperlyConfigured, match=r"task elsewhere: once=True works on a rediscluster:// broker only"):
        task()


def test_called_directly_or_eagerly_it_is_an_ordinary_function(app: Celery) -> None:
    task = app.task(name="plain", shared=False, once=True)(nothing)
    assert task() == 1
    assert task.apply().get() == 1
