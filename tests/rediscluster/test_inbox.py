"""Messages that producers leave in a queue's inbox: each arrives once, in its order, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Producer, Queue
from redis import exceptions

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector, broker
from service.rediscluster.broker import Broker, NoQueueError
from service.rediscluster.deadlist import DeadLists
from service.rediscluster.keys import QueueKeys
from service.rediscluster.node import Node
from service.rediscluster.options import parse
from tests.rediscluster.faultkit import direct, eventually
from tests.rediscluster.test_pressure import full


class Bench:
    """A queue, and what lies in its inbox."""

    def __init__(self, url: str, connection: Connection) -> None:
        self.broker = Broker(parse(url))
        self.queue = QueueKeys(self.broker.options.key_prefix, f"inbox-{uuid4().hex}")
        self.broker.declare(self.queue)
        self.channel: Any = connection.default_channel
        self.producer = Producer(self.channel, routing_key=self.queue.queue)

    def call(self, *command: Any) -> Any:
        return self.broker.cluster.call(command[1], *command)

    def lying(self) -> int:
        """Messages in the inbox: the first entry is none."""
        return int(self.call("LLEN", self.queue.inbox)) - 1

    def leave(self, name: str, number: int = 1, **options: Any) -> None:
        self.broker.leave(self.queue, name.encode(), message_id=name, lane="lane", number=number, **options)

    def take(self) -> list[str]:
        """Take and acknowledge everything, in order."""
        taken: list[str] = []
        first = 1
        while deliveries := self.broker.settle(self.queue, uuid4().hex, 100, first).deliveries:
            taken += [delivery.payload.decode() for delivery in deliveries]
            self.broker.settle(self.queue, "me", 0, 1, [delivery.ack for delivery in deliveries])
        return taken

    def bodies(self) -> list[Any]:
        """Receive and acknowledge everything that kombu published."""
        queue = Queue(self.queue.queue)(self.channel)
        received = []
        while message := queue.get():
            received.append(message.payload)
            message.ack()
        return received


@pytest.fixture
def bench(cluster: LocalCluster, connection: Connection) -> Iterator[Bench]:
    made = Bench(cluster.url, connection)
    yield made
    made.broker.drop(made.queue)
    made.broker.cluster.close()


def test_a_producer_uses_it_from_its_second_message_on(bench: Bench) -> None:
    for number in range(4):
        bench.producer.publish(number)
    assert bench.lying() == 3
    assert bench.bodies() == [0, 1, 2, 3]
    assert bench.lying() == 0


def test_large_and_urgent_messages_keep_their_order(bench: Bench) -> None:
    large = "x" * broker.INBOX_BYTES
    for body in ("a", "b", large, "c"):
        bench.producer.publish(body)
    bench.producer.publish("urgent", priority=9)
    bench.producer.publish(large, priority=9)
    assert bench.bodies() == ["urgent", large, "a", "b", large, "c"]


def test_it_counts_as_backlog_and_is_purged(bench: Bench, inspector: BrokerInspector) -> None:
    for number in range(5):
        bench.leave(f"m{number}", number + 1, priority=7)
    assert inspector.stats(bench.queue.queue).ready[7] == 5
    bench.leave("another", 6)
    assert bench.broker.purge(bench.queue) == 6
    assert bench.take() == []


@pytest.mark.parametrize("taken", [True, False], ids=["taken between", "both there"])
def test_a_repeated_one_arrives_once(bench: Bench, taken: bool) -> None:
    bench.leave("m", 1)
    arrived = bench.take() if taken else []
    bench.leave("m", 1)
    bench.leave("n", 2)
    assert arrived + bench.take() == ["m", "n"]


def test_kombu_repeats_one_whose_reply_was_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.producer.publish("first")
    ask, lost = Node.ask, list[bytes]()

    def lossy(node: Node, request: bytes, more: int = 0) -> Any:
        reply = ask(node, request, more)
        if b"RPUSHX" in request and not lost:
            lost.append(request)
            raise exceptions.TimeoutError("the reply was lost")
        return reply

    monkeypatch.setattr(Node, "ask", lossy)
    # Too short for a second attempt of the transport's own.
    cluster = bench.channel.broker.cluster
    monkeypatch.setattr(
        cluster,
        "options",
        parse(bench.channel.connection.client.as_uri(include_password=True), {"retry_deadline": 0.01}),
    )
    bench.producer.publish("second", retry=True, retry_policy={"interval_start": 0.01})
    assert len(lost) == 1
    assert bench.lying() == 2, "it was stored twice, and lies there until somebody takes it"
    assert bench.bodies() == ["first", "second"]


def test_many_leave_few_tokens(bench: Bench) -> None:
    for number in range(20):
        bench.producer.publish(number)
    assert bench.call("LLEN", bench.queue.wake) < 5
    assert len(bench.bodies()) == 20


def test_without_consumers_producers_empty_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "INBOX_LENGTH", 10)
    for number in range(60):
        bench.producer.publish(number)
        assert bench.lying() < 10
    assert bench.bodies() == list(range(60))


def test_one_that_nobody_can_read_is_dead(bench: Bench, cluster: LocalCluster) -> None:
    for entry in ("", "nonsense", "lane x id:0:0:0:0:x", "lane 1 no message"):
        bench.call("RPUSH", bench.queue.inbox, entry)
    bench.leave("good")
    assert bench.take() == ["good"]
    lists = DeadLists(cluster.url)
    reasons = [dead.reason for dead in lists.read(bench.queue, 0, 10)]
    lists.close()
    assert reasons == ["unreadable"] * 3


def test_a_queue_that_is_gone_is_made_again(bench: Bench) -> None:
    for number in range(3):
        bench.producer.publish(number)
    bench.broker.drop(bench.queue)
    with pytest.raises(NoQueueError):
        bench.leave("late")
    assert not bench.call("EXISTS", bench.queue.wake), "no token for a queue that is not there"
    bench.producer.publish("new")
    assert bench.bodies() == ["new"]


def test_a_temporary_queue_leaves_nothing(bench: Bench) -> None:
    queue = Queue(f"temporary-{uuid4().hex}", expires=0.5, durable=False)(bench.channel)
    queue.declare()
    for number in range(3):
        bench.producer.publish(number, routing_key=queue.name)
    keys = QueueKeys(bench.broker.options.key_prefix, queue.name)
    everything = (*keys.every, keys.wake)
    eventually(lambda: not any(bench.call("EXISTS", key) for key in everything), "the queue has expired")


def test_it_waits_until_there_is_room(bench: Bench, cluster: LocalCluster) -> None:
    with (
        direct(cluster.url, bench.queue.queue, retry_deadline=0.3) as (short, queue),
        full(cluster, queue.inbox),
        pytest.raises(exceptions.OutOfMemoryError),
    ):
        short.leave(queue, b"m", message_id="m", lane="lane", number=1)
    assert bench.take() == []
    bench.leave("m")
    assert bench.take() == ["m"]
