"""Failovers, frozen nodes and moving slots under traffic: nothing is lost, and consumers go on by themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.result import AsyncResult
from kombu import Connection, Consumer, Exchange, Producer, Queue
from redis.crc import key_slot

from scripts.localcluster import LocalCluster, Node
from service.rediscluster.keys import QueueKeys, fanout_key, task_key
from tests.rediscluster.faultapp import Plan, make_app
from tests.rediscluster.faultkit import (
    PATIENCE,
    Traffic,
    Workers,
    eventually,
    heal,
    verdict,
    wait_replicated,
)


def new_queue() -> str:
    return f"faults-{uuid4().hex}"


def keys_of(queue: str) -> QueueKeys:
    return QueueKeys("broker:", queue)


def home_of(cluster: LocalCluster, queue: str) -> Node:
    return cluster.primary_for(keys_of(queue).meta)


def elsewhere(cluster: LocalCluster, home: Node) -> Node:
    return next(node for node in cluster.primaries if node is not home)


def end_by_force(cluster: LocalCluster, primary: Node) -> None:
    cluster.kill(primary)
    cluster.wait_promoted(primary)


def freeze(cluster: LocalCluster, primary: Node) -> None:
    cluster.freeze(primary)
    cluster.wait_promoted(primary)


def test_a_manual_failover_loses_and_repeats_nothing(broken: LocalCluster) -> None:
    queue = new_queue()
    with Traffic(broken.url, queue) as traffic:
        for _ in range(2):
            (replica,) = broken.replicas_of(home_of(broken, queue))
            broken.failover(replica)
            traffic.wait_progress()
        traffic.finish("two manual failovers of the queue's primary").demand()


@pytest.mark.parametrize("strike", [end_by_force, freeze])
def test_a_lost_primary_loses_nothing_that_was_replicated(
    broken: LocalCluster, strike: Callable[[LocalCluster, Node], None]
) -> None:
    queue = new_queue()
    with Traffic(broken.url, queue) as traffic:
        traffic.pause()
        home = home_of(broken, queue)
        wait_replicated(broken, home)
        before = set(traffic.run)
        # Publishing goes on while nobody serves the slot: those calls wait.
        publishing = threading.Timer(1.0, traffic.resume)
        publishing.start()
        strike(broken, home)
        publishing.join()
        traffic.wait_progress()
        # What the old primary believes when it comes back must not matter.
        heal(broken)
        traffic.wait_progress()
        # What was consumed shortly before may come again: that it was acknowledged may not have been replicated.
        unsure = before | set(traffic.run[: len(before) + traffic.prefetch])
        traffic.finish(f"{strike.__name__} of the queue's primary, which came back later").demand(may_run_twice=unsure)


def test_a_slot_moves_away_and_back(broken: LocalCluster) -> None:
    queue = new_queue()
    slot = key_slot(keys_of(queue).meta.encode())
    with Traffic(broken.url, queue) as traffic:
        home = home_of(broken, queue)
        for target in (elsewhere(broken, home), home):
            broken.migrate_slot(slot, target)
            traffic.wait_progress()
        traffic.finish(f"slot {slot} moved to another primary and back").demand()


def test_a_move_left_half_way_stops_the_consumers_until_it_is_finished(broken: LocalCluster) -> None:
    queue = new_queue()
    slot = key_slot(keys_of(queue).meta.encode())
    with Traffic(broken.url, queue) as traffic:
        target = elsewhere(broken, home_of(broken, queue))
        broken.open_slot(slot, target)
        # With all keys still in place the move is not noticed.
        traffic.wait_progress()
        assert broken.move_keys(slot, target, limit=3) == 3
        half_way = len(traffic.sent)
        # The other queues do not care.
        with Traffic(broken.url, new_queue(), lease=11.0) as other:
            other.finish("the slot of another queue is half-way").demand()
        traffic.check()
        # Publishing is a plain command on one key, which is either here or there.
        eventually(lambda: len(traffic.sent) > half_way + 20, f"publishing goes on: {traffic.state()}")
        broken.move_keys(slot, target)
        broken.close_slot(slot, target)
        traffic.wait_progress()
        traffic.finish(f"the move of slot {slot} was left half-way and finished").demand()


def test_a_move_that_only_lacks_its_end_stops_nobody(broken: LocalCluster) -> None:
    queue = new_queue()
    slot = key_slot(keys_of(queue).meta.encode())
    with Traffic(broken.url, queue) as traffic:
        target = elsewhere(broken, home_of(broken, queue))
        # A primary that was added just now knows none of our scripts.
        target.command("SCRIPT", "FLUSH")
        broken.open_slot(slot, target)
        broken.move_keys(slot, target)
        try:
            traffic.wait_progress(within=60)
        finally:
            broken.move_keys(slot, target)
            broken.close_slot(slot, target)
        traffic.wait_progress()
        traffic.finish(f"all keys of slot {slot} had moved, its owner had not changed").demand()


def test_clients_are_thrown_out_and_scripts_forgotten(broken: LocalCluster) -> None:
    queue = new_queue()
    with Traffic(broken.url, queue, prefetch=3) as traffic:
        for _ in range(10):
            for node in broken.nodes:
                node.command("CLIENT", "KILL", "TYPE", "normal")
                node.command("CLIENT", "KILL", "TYPE", "pubsub")
                node.command("SCRIPT", "FLUSH")
            traffic.wait_progress(20)
        traffic.finish("all clients killed and all scripts flushed ten times").demand()


def test_a_new_primary_takes_the_slot_and_the_old_one_leaves(broken: LocalCluster) -> None:
    queue = new_queue()
    slot = key_slot(keys_of(queue).meta.encode())
    home = home_of(broken, queue)
    added = broken.add_node()
    try:
        with Traffic(broken.url, queue) as traffic:
            broken.migrate_slot(slot, added)
            traffic.wait_progress()
            broken.migrate_slot(slot, home)
            traffic.wait_progress()
            broken.remove(added)
            traffic.wait_progress()
            traffic.finish("a primary was added, got the slot, gave it back and left").demand()
    finally:
        if added in broken.nodes:
            if home_of(broken, queue) is added:
                broken.migrate_slot(slot, home)
            broken.remove(added)


def test_broadcasts_arrive_while_their_slot_is_open(broken: LocalCluster) -> None:
    """A command about several keys fails in such a slot when one of them is not there."""
    used, idle = Exchange(new_queue(), "fanout"), Exchange(new_queue(), "fanout")
    stream = fanout_key("broker:", used.name)
    home = broken.primary_for(stream)
    slot, target = key_slot(stream.encode()), elsewhere(broken, home)
    got: list[int] = []
    with Connection(broken.url) as sender, Connection(broken.url) as connection:
        producer = Producer(sender.default_channel, exchange=used)
        producer.publish(0)
        queues = [Queue(new_queue(), exchange) for exchange in (used, idle)]
        broken.open_slot(slot, target)
        try:
            with Consumer(connection, queues, no_ack=True, on_message=lambda message: got.append(message.payload)):
                for number in (1, 2, 3):
                    producer.publish(number)
                while len(got) < 3:
                    connection.drain_events(timeout=20)
        finally:
            broken.return_slot(slot, target)
    assert got == [1, 2, 3]


def test_a_lost_shard_stops_only_its_own_queues(broken: LocalCluster) -> None:
    """Both nodes of a shard are silent: the worst case, since every request there waits for its timeout."""
    stuck, alive = new_queue(), new_queue()
    while home_of(broken, stuck) is home_of(broken, alive):
        alive = new_queue()
    home = home_of(broken, stuck)
    (replica,) = broken.replicas_of(home)
    with Traffic(broken.url, alive, also=[stuck], prefetch=4) as traffic:
        for node in (replica, home):
            broken.freeze(node)
        # Long enough for the consumer to ask the silent shard again and again: its idle timeout is 2 s.
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            traffic.wait_progress(50, within=30)
        for node in (home, replica):
            broken.thaw(node)
        traffic.finish("both nodes of the other queue's shard were frozen").demand()


@pytest.fixture
def app(broken: LocalCluster, tmp_path: Path) -> Iterator[Celery]:
    plan = Plan(broken.url, str(tmp_path), new_queue(), {"socket_timeout": 2.0})
    made = make_app(plan)
    made.conf.result_backend_transport_options = {"socket_timeout": 2.0}
    # Celery makes it at first use; threads that come at the same time would each make one.
    assert made.backend
    yield made
    made.close()


@pytest.mark.parametrize("strike", [end_by_force, freeze])
def test_results_that_are_waited_for_arrive_after_a_failover(
    broken: LocalCluster, app: Celery, strike: Callable[[LocalCluster, Node], None]
) -> None:
    ids = [str(uuid4()) for _ in range(30)]
    home = broken.primary_for(task_key("result:", ids[0]))
    got: dict[str, Any] = {}

    def wait_for(identity: str) -> None:
        got[identity] = AsyncResult(identity, app=app).get(timeout=PATIENCE)

    waiting = [threading.Thread(target=wait_for, args=(identity,)) for identity in ids[:10]]
    for thread in waiting:
        thread.start()
    consumer: Any = app.backend.result_consumer  # type: ignore[attr-defined] # of the cluster's backend
    eventually(
        lambda: sum(address is not None for address in consumer._pending.values()) == 10, "all results are subscribed"
    )
    # Some come before, some after, and some were never waited for while they came.
    for identity in ids[:3]:
        app.backend.store_result(identity, identity, "SUCCESS")
    wait_replicated(broken, home)
    strike(broken, home)
    for identity in ids[3:]:
        app.backend.store_result(identity, identity, "SUCCESS")
    for thread in waiting:
        thread.join()
    for identity in ids[10:]:
        wait_for(identity)
    missing = [identity for identity in ids if got.get(identity) != identity]
    told = f"{strike.__name__} of the results' primary: {len(ids)} results stored"
    assert not missing, f"{told}, {len(missing)} did not arrive: {missing}"


def test_a_worker_answers_and_works_after_its_shard_failed_over(
    broken: LocalCluster, tmp_path: Path, workers: Workers
) -> None:
    home = broken.primary_for(fanout_key("broker:", "celery.pidbox"))
    # The commands to the worker and its tasks are on the same shard.
    while home_of(broken, queue := new_queue()) is not home:
        pass
    plan = Plan(broken.url, str(tmp_path), queue, {"idle_timeout": 2.0, "socket_timeout": 2.0})
    app = make_app(plan)
    worker = workers(plan)
    assert app.control.ping(timeout=30, limit=1), "the worker does not answer before anything is broken"
    sent = range(40)
    for number in sent[:20]:
        app.send_task("slow", (number, 0.05), ignore_result=True)
    wait_replicated(broken, home)
    end_by_force(broken, home)
    eventually(lambda: app.control.ping(timeout=1), "the worker answers after the failover")
    for number in sent[20:]:
        app.send_task("slow", (number, 0.05), ignore_result=True)
    broke = "the primary of a worker's queue and commands was killed"
    eventually(lambda: not verdict(broke, sent, plan).lost, "all tasks ran")
    verdict(broke, sent, plan).demand(may_run_twice=sent[:20])
    assert worker.process.poll() is None, f"the worker ended: {worker.log.read_text()[-4000:]}"
    assert worker.stop() == 0, worker.log.read_text()[-4000:]
