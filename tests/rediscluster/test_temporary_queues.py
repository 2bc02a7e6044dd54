"""A queue with an expiry that is over before its process looks again: it stood still, or was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Consumer, Queue

from scripts.localcluster import LocalCluster
from service.rediscluster.keys import QueueKeys
from tests.rediscluster.faultkit import eventually


@pytest.fixture
def connection(cluster: LocalCluster) -> Iterator[Connection]:
    with Connection(cluster.url, transport_options={"idle_timeout": 0.5}) as opened:
        yield opened


@pytest.fixture
def queue(connection: Connection) -> Queue:
    made = Queue(f"reply-{uuid4().hex}", expires=60, durable=False)(connection.default_channel)
    made.declare()
    return made


def keys_of(queue: Queue) -> QueueKeys:
    channel: Any = queue.channel
    keys: QueueKeys = channel.broker.keys(queue.name)
    return keys


def expire(cluster: LocalCluster, keys: QueueKeys) -> None:
    cluster.primary_for(keys.meta).command("UNLINK", *keys.every)


def test_who_looks_once_more_does_not_make_it_again(cluster: LocalCluster, queue: Queue) -> None:
    keys = keys_of(queue)
    expire(cluster, keys)
    assert queue.get() is None
    assert cluster.primary_for(keys.meta).command("EXISTS", *keys.every) == 0


def test_who_consumes_it_has_it_again_with_its_expiry(
    cluster: LocalCluster, connection: Connection, queue: Queue
) -> None:
    keys = keys_of(queue)
    node = cluster.primary_for(keys.meta)
    got: list[Any] = []
    with Consumer(connection, [queue], on_message=got.append, no_ack=True):
        expire(cluster, keys)

        def again() -> bool:
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.1)
            return bool(node.command("EXISTS", keys.meta))

        eventually(again, "the consumer declares it")
        connection.Producer().publish("answer", routing_key=queue.name)
        while not got:
            connection.drain_events(timeout=30)
    assert [message.payload for message in got] == ["answer"]
    assert 0 < node.command("PTTL", keys.meta) <= 60_000
