"""Publishes that are named by who makes them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Producer, Queue

from scripts.localcluster import LocalCluster
from service.rediscluster.kept import KeptLanes, published_as
from service.rediscluster.lanes import PUBLISH
from tests.rediscluster.faultkit import eventually

#: So short that other producers forget their own lanes at once, and with them what is as old.
SHORT = {"dedupe_window": 0.01}


class Desk:
    """A queue of its own, a producer and the lanes that it remembers."""

    def __init__(self, connection: Connection, cluster: LocalCluster, options: dict[str, Any]) -> None:
        self.queue = Queue(f"kept-{uuid.uuid4().hex}", routing_key="")
        self.queue = Queue(self.queue.name, routing_key=self.queue.name)
        self.channel: Any = connection.channel()
        self.queue(self.channel).declare()
        self.producer = Producer(self.channel)
        self.lanes = KeptLanes(cluster.url, options)

    def publish(self, body: str, number: int, lane: str = "lane") -> None:
        self.producer.publish(body, routing_key=self.queue.name, **published_as(lane, number))

    def last(self, lane: str = "lane") -> int | None:
        return self.lanes.last(self.queue.name, lane)

    def taken(self) -> list[Any]:
        """What is in the queue, taken out."""
        bound, found = self.queue(self.channel), []
        while message := bound.get(no_ack=True):
            assert PUBLISH not in message.properties
            found.append(message.payload)
        return found


def desk_on(cluster: LocalCluster, options: dict[str, Any]) -> Iterator[Desk]:
    with Connection(cluster.url, transport_options=options) as connection:
        desk = Desk(connection, cluster, options)
        yield desk
        desk.queue(desk.channel).delete()
        desk.lanes.close()


@pytest.fixture
def desk(cluster: LocalCluster) -> Iterator[Desk]:
    yield from desk_on(cluster, SHORT)


def test_a_number_is_stored_once_and_none_below_it(desk: Desk) -> None:
    desk.publish("a", 5)
    desk.publish("again", 5)
    assert desk.taken() == ["a"]
    desk.publish("late", 4)
    desk.publish("again", 5)
    desk.publish("b", 6)
    assert desk.taken() == ["b"]
    assert desk.last() == 6


def test_lanes_do_not_know_each_other(desk: Desk) -> None:
    desk.publish("a", 5)
    desk.publish("b", 1, lane="another: lane")
    assert desk.taken() == ["a", "b"]
    assert (desk.last(), desk.last("another: lane"), desk.last("none")) == (5, 1, None)


def test_a_lane_is_remembered_when_other_producers_are_forgotten(desk: Desk) -> None:
    desk.publish("a", 5)
    assert desk.taken() == ["a"]
    meta = desk.lanes._place(desk.queue.name, "lane").meta
    call = desk.lanes._broker.cluster.call

    def others() -> int:
        """Each lane that is used anew makes the queue forget up to three others; the newest is always there."""
        desk.producer.publish("x", routing_key=desk.queue.name)
        desk.channel.broker.lanes._free.clear()
        assert desk.taken()[-1:] == ["x"]
        return sum(field.startswith(b"lane:") for field in call(meta, "HGETALL", meta)[::2])

    for _ in range(8):
        others()
    eventually(lambda: others() <= 4, "lanes are forgotten")
    desk.publish("again", 5)
    assert desk.taken() == []
    assert desk.last() == 5


def test_a_lane_begins_where_it_is_told_and_never_goes_back(desk: Desk) -> None:
    assert desk.lanes.advance(desk.queue.name, "lane", 10) == 10
    desk.publish("early", 10)
    desk.publish("a", 11)
    assert desk.lanes.advance(desk.queue.name, "lane", 7) == 11
    assert desk.taken() == ["a"]


def test_a_lane_of_a_queue_that_nobody_declared(cluster: LocalCluster) -> None:
    lanes, name = KeptLanes(cluster.url), f"kept-{uuid.uuid4().hex}"
    assert lanes.last(name, "lane") is None
    assert lanes.advance(name, "lane", 3) == 3
    assert lanes.last(name, "lane") == 3
    lanes.close()


def test_all_of_a_lane_goes_to_one_part_of_a_split_queue(cluster: LocalCluster) -> None:
    name = f"kept-{uuid.uuid4().hex}"
    options = {"partitions": {name: 4}}
    lanes = KeptLanes(cluster.url, options)
    with Connection(cluster.url, transport_options=options) as connection:
        channel: Any = connection.channel()
        producer = Producer(channel)
        Queue(name, routing_key=name)(channel).declare()
        for number in range(1, 9):
            producer.publish("x", routing_key=name, correlation_id=str(number), **published_as("lane", number))
        broker = channel.broker
        counts = sorted(sum(broker.stats(part)[-1]) for part in broker.parts(name))
        assert counts == [0, 0, 0, 8]
        assert lanes.last(name, "lane") == 8
        Queue(name)(channel).delete()
    lanes.close()
