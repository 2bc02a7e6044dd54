"""What arrives, in which order, and what is refused: real stock publishing, a real cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kombu import Connection, Exchange, Producer, Queue

from service.bridge.mover import RefusedError
from service.bridge.stock import Layout
from service.rediscluster.message_format import unpack
from tests.bridge.kit import Sides, fill, number_of, numbers_of, send, stock_app


def test_everything_arrives_once_in_order(sides: Sides) -> None:
    sent = send(stock_app(sides.old), range(250))
    mover = sides.drain(batch=30)
    assert numbers_of(sides.arrived()) == sent
    assert mover.tally.count == 250
    assert mover.look().left == 0
    with sides.bridge() as again:
        again.begin()
        again.drain()
        assert again.tally.count == 0
    keys: Any = sides.raw.keys()
    assert [key for key in keys if not key.startswith(b"_kombu.")] == [b"bridge:owner"]


def test_priorities_are_reversed_and_their_order_is_kept(sides: Sides) -> None:
    app = stock_app(sides.old)
    for number in range(20):
        send(app, [number], priority=(9, 0, 4, 3, 6)[number % 5])
    sides.drain(batch=3)
    arrived = sides.arrived()
    steps = {9: [0, 5, 10, 15], 0: [1, 6, 11, 16], 3: [2, 3, 7, 8, 12, 13, 17, 18], 6: [4, 9, 14, 19]}
    # As a stock worker fetches: by step, and first in, first out inside one.
    assert numbers_of(arrived) == steps[0] + steps[3] + steps[6] + steps[9]
    assert [delivery.priority for delivery in arrived] == [10] * 4 + [7] * 8 + [4] * 4 + [1] * 4
    assert {unpack(delivery.payload)["properties"]["priority"] for delivery in arrived} == {10, 7, 4, 1}


def test_the_operator_may_choose_priorities(sides: Sides) -> None:
    app = stock_app(sides.old)
    send(app, [1])
    send(app, [2], priority=9)
    sides.drain(priorities={0: 1, 9: 0})
    assert [(number_of(d), d.priority) for d in sides.arrived()] == [(1, 1), (2, 0)]


def test_prefix_database_steps_and_separator_are_honoured(sides: Sides) -> None:
    options = {"global_keyprefix": "shop*:", "priority_steps": list(range(10)), "sep": ":"}
    url = sides.old.removesuffix("/0") + "/3"
    app = stock_app(url, broker_transport_options=options)
    for number in range(10):
        send(app, [number], priority=9 - number)
    send(stock_app(url), [77])
    moved = Sides(url, sides.cluster, sides.prefix)
    layout = Layout(prefix="shop*:", separator=":", steps=tuple(range(10)))
    moved.drain(layout=layout)
    assert numbers_of(moved.arrived()) == list(range(9, -1, -1))
    assert moved.raw.llen("celery") == 1, "the other application's queue was touched"


def test_eta_waits_in_the_cluster_until_its_time(sides: Sides) -> None:
    app = stock_app(sides.old)
    soon = datetime.now(UTC) + timedelta(hours=1)
    send(app, [1], eta=soon)
    send(app, [2], countdown=7200)
    send(app, [3])
    sides.drain()
    assert numbers_of(sides.arrived()) == [3]
    with sides.broker() as broker:
        keys = broker.keys("celery")
        assert broker.stats(keys)[1] == 2
        first, due = broker.cluster.call(keys.delayed, "ZRANGE", keys.delayed, 0, 0, "WITHSCORES")
        assert abs(float(due) - soon.timestamp() * 1000) < 1
        # As if the hour were over.
        broker.cluster.call(keys.delayed, "ZADD", keys.delayed, "XX", 1, first)
    assert numbers_of(sides.arrived()) == [1]


CONTENTS: dict[str, dict[str, Any]] = {
    "json": {},
    "pickle": {"serializer": "pickle"},
    "yaml": {"serializer": "yaml"},
    "gzip": {"compression": "gzip"},
    "bz2 and pickle": {"compression": "bzip2", "serializer": "pickle"},
    "text": {"content_type": "text/plain", "content_encoding": "utf-8"},
    "bytes": {"content_type": "application/data", "content_encoding": "binary"},
}


@pytest.mark.parametrize("content", CONTENTS)
def test_bodies_arrive_as_they_were(sides: Sides, content: str) -> None:
    body: Any = {"text": "naïve ☃ \u2028", "number": 2**60, "float": 0.1}
    if content == "text":
        body = "naïve ☃"
    elif content == "bytes":
        body = bytes(range(256))
    headers = {"task": "t", "id": "1", "expires": "2100-01-01T00:00:00+00:00", "retries": 2, "mine": {"a": [1, None]}}
    properties: dict[str, Any] = {"reply_to": "answers", "correlation_id": "c-1"}
    with Connection(sides.old) as connection:
        Producer(connection).publish(body, routing_key="celery", headers=headers, **properties, **CONTENTS[content])
    stored = json.loads(sides.raw.lindex("celery", 0))
    sides.drain()
    with Connection(sides.cluster.url, transport_options=sides.options) as connection:
        message = Queue("celery")(connection.channel()).get(
            accept=["json", "pickle", "yaml", "text/plain", "application/data"]
        )
        assert message is not None
        assert message.payload == body
        assert message.headers == stored["headers"]
        assert {name: message.properties[name] for name in properties} == properties
        assert message.delivery_info["routing_key"] == "celery"
        message.ack()


def test_a_renamed_queue_also_changes_where_retries_go(sides: Sides) -> None:
    send(stock_app(sides.old), [1, 2], queue="reports")
    sides.drain(renamed={"reports": "data_queue"})
    arrived = sides.arrived("data_queue")
    assert numbers_of(arrived) == [1, 2]
    assert unpack(arrived[0].payload)["properties"]["delivery_info"] == {
        "exchange": "",
        "routing_key": "data_queue",
    }


def test_a_queue_that_the_fleet_lacks_is_refused_before_anything_moves(sides: Sides) -> None:
    app = stock_app(sides.old)
    send(app, [1, 2])
    send(app, [3], queue="reports", priority=6)
    with pytest.raises(RefusedError, match="queue 'reports': 1 message, and the fleet has no such queue"):
        sides.drain()
    assert sides.raw.llen("celery") == 2
    assert sides.arrived() == []
    mover = sides.drain(left=("rep*",))
    assert numbers_of(sides.arrived()) == [1, 2]
    assert mover.look().kept == {("reports", "by request"): 1}


def test_wrong_priority_steps_are_refused(sides: Sides) -> None:
    send(stock_app(sides.old, broker_transport_options={"priority_steps": list(range(10))}), [1, 2], priority=5)
    with pytest.raises(RefusedError, match="2 messages of priority step 5, which is not among 0,3,6,9"):
        sides.drain()


def test_what_is_no_task_stays(sides: Sides) -> None:
    app = stock_app(sides.old)
    send(app, [1])
    with app.connection_for_write() as connection:
        channel = connection.channel()
        replies = Exchange("reply.celery.pidbox", "direct")
        Queue("someone.reply.celery.pidbox", replies, routing_key="someone")(channel).declare()
        Producer(channel).publish({}, exchange=replies, routing_key="someone")
        Producer(channel).publish({}, routing_key="7c9f2c3e-68a5-4f4d-8f2c-3b1a3c0d9d11")
    sides.raw.lpush("some:application:list", "1", "2")
    sides.raw.lpush("celery-taskset-meta-7c9f2c3e.j", json.dumps({"properties": {}, "body": ""}))
    sides.raw.set("celery-task-meta-1", "{}")
    mover = sides.drain()
    assert numbers_of(sides.arrived()) == [1]
    assert sides.raw.llen("some:application:list") == 2
    assert mover.look().kept == {
        ("someone.reply.celery.pidbox", "remote control"): 1,
        ("7c9f2c3e-68a5-4f4d-8f2c-3b1a3c0d9d11", "replies"): 1,
        ("celery-taskset-meta-7c9f2c3e.j", "results"): 1,
    }


def test_what_nobody_can_read_is_put_aside_and_kept(sides: Sides) -> None:
    app = stock_app(sides.old)
    send(app, [1])
    rubbish = [
        b"\xff\x00",
        b"{",
        b"[1]",
        b'{"body": 1, "properties": {}}',
        b'{"body": "a", "properties": {"body_encoding": "base64"}}',
        b"x\ny",
        b"[" * 100_000,
    ]
    for entry in rubbish:
        sides.raw.lpush("celery", entry)
    send(app, [2])
    mover = sides.drain()
    assert numbers_of(sides.arrived()) == [1, 2]
    assert mover.tally.unreadable.total() == mover.look().unreadable == len(rubbish)
    kept: Any = sides.raw.lrange("bridge:unreadable", 0, -1)
    assert [entry.partition(b"\n")[2] for entry in kept] == rubbish
    assert json.loads(kept[0].partition(b"\n")[0])["queue"] == "celery"


def test_two_brokers_may_be_moved_into_one_fleet_at_once(sides: Sides) -> None:
    other = Sides(sides.old.removesuffix("/0") + "/1", sides.cluster, sides.prefix)
    fill(sides.old, range(100))
    fill(other.old, range(100, 200))
    with sides.bridge(batch=10) as one, other.bridge(batch=10) as two:
        one.begin()
        two.begin()
        while one.sweep() + two.sweep():
            pass
    assert sorted(numbers_of(sides.arrived())) == list(range(200))
