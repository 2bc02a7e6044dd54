"""Requests that were executed and whose reply never came, and what happens half-way: found by trying to break it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from redis import exceptions

import service.rediscluster.results
from scripts.localcluster import LocalCluster
from service.rediscluster.broker import Broker
from service.rediscluster.keys import QueueKeys
from service.rediscluster.options import parse
from service.rediscluster.session import REPEAT_ACKS, Session


@pytest.fixture
def session(cluster: LocalCluster) -> Iterator[Session]:
    opened = Session(parse(cluster.url, {"client_name": uuid4().hex}))
    yield opened
    opened.close()


@pytest.fixture
def backend(cluster: LocalCluster) -> Iterator[Any]:
    app = Celery("replies", broker=cluster.url, backend=cluster.url, set_as_current=False)
    yield app.backend
    app.close()


def lose_first_reply(call: Callable[..., Any]) -> Callable[..., Any]:
    """The first call is executed, but its caller is told that the connection was lost."""
    calls = 0

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        reply = call(*args, **kwargs)
        if calls == 1:
            raise exceptions.ConnectionError("the reply was lost")
        return reply

    return wrapper


def test_the_body_of_a_chord_is_sent_though_the_last_count_was_repeated(backend: Any, monkeypatch: Any) -> None:
    group = uuid4().hex
    backend.set_chord_size(group, 1)
    keys = [backend.get_key_for_group(group, kind) for kind in (".j", ".t", ".s", ".d", "", ".c")]
    cluster = backend.client.cluster
    monkeypatch.setattr(cluster, "script_once", lose_first_reply(cluster.script_once))
    arguments = ["task", "value", 1, 0, 60, 60, 10, uuid4().hex]
    ready, _, _, claimed = backend._chord_part_return_script(keys=keys, args=arguments)
    assert (ready, bool(claimed)) == (1, True)
    # Its process died before it sent the end: delivered again, the part may, and whoever counted before may not.
    again = uuid4().hex
    assert backend._chord_part_return_script(keys=keys, args=[*arguments[:-1], again])[3] == 1
    extend = partial(backend._chord_claim_extend_script, keys=[keys[-1], keys[2]])
    assert [bool(extend(args=[token, 60])) for token in (arguments[-1], again)] == [False, True]
    # Another part that comes late is not the one to send it.
    other = backend._chord_part_return_script(keys=keys, args=["other", *arguments[1:-1], uuid4().hex])
    assert not other[3]


def test_a_chord_that_grows_is_counted_once_though_the_reply_was_lost(backend: Any, monkeypatch: Any) -> None:
    cluster, group = backend.client.cluster, uuid4().hex
    monkeypatch.setattr(cluster, "script_once", lose_first_reply(cluster.script_once))
    assert [backend.add_to_chord(group, None), backend.add_to_chord(group, None)] == [None, None]
    assert backend.client.get(backend.get_key_for_group(group, ".t")) == b"2"


def test_a_lease_is_not_lost_with_the_reply(session: Session, monkeypatch: Any) -> None:
    broker = session.broker
    queue = broker.keys(f"lost-{uuid4().hex}")
    broker.declare(queue)
    for number in range(3):
        broker.publish(queue, b"x", message_id=f"m{number}", lane=uuid4().hex, number=1)
    monkeypatch.setattr(broker.cluster, "script_once", lose_first_reply(broker.cluster.script_once))
    with pytest.raises(exceptions.ConnectionError):
        session.settle(queue, 2)
    # Whatever is asked for next, the leases that were made are found again.
    settlement = session.settle(queue, 1)
    assert settlement is not None
    assert [delivery.ack.message_id for delivery in settlement.deliveries] == ["m0", "m1"]
    broker.drop(queue)


def test_a_queue_that_was_deleted_while_it_was_declared_mends(session: Session) -> None:
    broker = session.broker
    queue = broker.keys(f"race-{uuid4().hex}")
    for number, key in enumerate(queue.every):
        broker.declare(queue)
        broker.cluster.call(key, "UNLINK", key)
        settlement = session.settle(queue, 1)
        assert settlement is not None
        assert not settlement.deliveries
        broker.publish(queue, b"x", message_id=f"m{number}", lane=uuid4().hex, number=1)
        settlement = session.settle(queue, 1)
        assert settlement is not None
        [delivery] = settlement.deliveries
        session.ack(delivery.tag)
        session.settle(queue, 0)
    broker.drop(queue)


def test_acks_are_repeated_after_a_failover_though_other_queues_went_on(session: Session, monkeypatch: Any) -> None:
    broker = session.broker
    ours, others = (broker.keys(f"{name}-{uuid4().hex}") for name in ("ours", "others"))
    for queue in (ours, others):
        broker.declare(queue)
    broker.publish(ours, b"x", message_id="m", lane=uuid4().hex, number=1)
    settlement = session.settle(ours, 1)
    assert settlement is not None
    session.ack(settlement.deliveries[0].tag)
    session.settle(ours, 0)
    # Long after, the other queue is still served, and then the first one's primary turns out to be another.
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 4 * REPEAT_ACKS)
    session.settle(others, 1)
    session.on_topology_change()
    assert [ack.message_id for ack in session.line(ours).acks] == ["m"]
    monkeypatch.undo()
    for queue in (ours, others):
        broker.drop(queue)


def test_slow_reads_reach_every_pending_result(backend: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(service.rediscluster.results, "SLOW_READ_BATCH", 3)
    consumer = backend.result_consumer
    ids = [f"{uuid4().hex}-{number}" for number in range(10)]
    for identity in ids:
        consumer.consume_from(identity)
    seen: set[str] = set()

    def read(keys: list[str]) -> list[bytes]:
        seen.update(keys)
        return []

    monkeypatch.setattr(consumer, "_values", read)
    for _ in range(4):
        consumer._slow_read_at = 0.0
        consumer._repair()
    assert seen == {backend.get_key_for_task(identity) for identity in ids}


def test_a_broker_that_only_reads_keeps_nothing(cluster: LocalCluster) -> None:
    broker = Broker(parse(cluster.url))
    queue = broker.keys(f"absent-{uuid4().hex}")
    assert broker.stats(queue)[0] == 0
    assert not broker.exists(queue)
    broker.cluster.close()


def test_a_process_whose_only_seed_is_frozen_knows_the_others(fresh_cluster: Callable[..., LocalCluster]) -> None:
    cluster = fresh_cluster()
    options = parse(cluster.url, {"socket_timeout": 1.0})
    seed = next(node for node in cluster.nodes if node.port == options.seeds[0][1])
    first = Broker(options)
    first.cluster.refresh()
    cluster.freeze(seed)
    try:
        # As the result backend beside it, or a pool process that was forked from it.
        second = Broker(options)
        second.cluster.refresh()
        served = next(queue for n in range(100) if _port(second, queue := second.keys(f"q{n}")) != seed.port)
        second.declare(served)
        assert second.exists(served)
        second.cluster.close()
    finally:
        cluster.thaw(seed)
        first.cluster.close()


def _port(broker: Broker, queue: QueueKeys) -> int:
    return broker.cluster.primary(queue.meta)[1]
