"""What kombu's users see: connections, channels, consumers and producers on a real cluster."""

import gc
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import ChannelError

from scripts.localcluster import LocalCluster
from scripts.localcluster.single import single_redis
from service.rediscluster import BrokerInspector, ClusterUnavailableError, ConfigurationError
from tests.rediscluster.faultkit import come_due, eventually


@pytest.fixture
def queue(connection: Any) -> Iterator[Queue]:
    queue = Queue(f"kombu-{uuid4().hex}")(connection.default_channel)
    queue.declare()
    yield queue
    queue.delete()


def send(connection: Any, queue: Any, *bodies: Any, **options: Any) -> None:
    producer = Producer(connection.default_channel)
    for body in bodies:
        producer.publish(body, routing_key=queue.name, **options)


def receive(connection: Any, queue: Any, number: int, prefetch: int = 1, **options: Any) -> list[Any]:
    received: list[Any] = []

    def take(body: Any, message: Any) -> None:
        received.append(body)
        message.ack()

    with Consumer(connection, [queue], callbacks=[take], prefetch_count=prefetch, **options):
        while len(received) < number:
            connection.drain_events(timeout=30)
    return received


def expire(connection: Any, queue: Any) -> None:
    """Let the time of a temporary queue be over."""
    broker = connection.default_channel.broker
    keys = broker.keys(queue.name)
    broker.touch(keys, 1)
    eventually(lambda: not broker.exists(keys), "the queue expired")


def test_higher_priorities_come_first_and_larger_ones_count_as_ten(connection: Any, queue: Any) -> None:
    for priority in (0, 3, 99, 10, 5):
        send(connection, queue, priority, priority=priority)
    assert receive(connection, queue, 5) == [99, 10, 5, 3, 0]


@pytest.mark.parametrize("prefetch", [0, 1, 10])
def test_order_is_kept_at_any_prefetch(connection: Any, queue: Any, prefetch: int) -> None:
    send(connection, queue, *range(50))
    assert receive(connection, queue, 50, prefetch) == list(range(50))


def test_prefetch_limits_what_is_taken(connection: Any, queue: Any, inspector: BrokerInspector) -> None:
    send(connection, queue, *range(10))
    held: list[Any] = []
    with Consumer(connection, [queue], on_message=held.append, prefetch_count=3):
        for _ in range(3):
            connection.drain_events(timeout=30)
        with pytest.raises(socket.timeout):
            connection.drain_events(timeout=0.3)
        assert inspector.stats(queue.name).leased == 3
        held[0].ack()
        connection.drain_events(timeout=30)
    assert [message.payload for message in held] == [0, 1, 2, 3]
    for message in held[1:]:
        message.ack()


def test_bodies_of_every_kind(connection: Any, queue: Any) -> None:
    text = "naïve ☃ {}%|\x00\n:"
    send(connection, queue, {"text": text, "n": [1, None, 2.5]})
    send(connection, queue, bytes(range(256)), content_type="application/data", content_encoding="binary")
    send(connection, queue, {"text": text * 1000}, compression="gzip")
    send(connection, queue, "x" * 3_000_000)
    received = receive(connection, queue, 4, accept=["json", "text/plain", "application/data"])
    assert received[0] == {"text": text, "n": [1, None, 2.5]}
    assert bytes(received[1]) == bytes(range(256))
    assert received[2] == {"text": text * 1000}
    assert len(received[3]) == 3_000_000


def test_basic_get_reject_and_requeue(connection: Any, queue: Any, inspector: BrokerInspector) -> None:
    channel = connection.default_channel
    assert channel.basic_get(queue.name) is None
    send(connection, queue, "a", "b")
    first = channel.basic_get(queue.name)
    first.reject(requeue=True)
    again = channel.basic_get(queue.name)
    assert (again.payload, again.delivery_info["redelivered"]) == ("a", True)
    again.reject()
    assert channel.basic_get(queue.name, no_ack=True).payload == "b"
    eventually(lambda: not (inspector.stats(queue.name).leased), "settled")
    stats = inspector.stats(queue.name)
    assert (stats.depth, stats.leased, stats.dead) == (0, 0, 1)


def test_what_is_dropped_without_an_answer_comes_back(connection: Any, queue: Any) -> None:
    channel = connection.default_channel
    send(connection, queue, "a")
    message = channel.basic_get(queue.name)
    assert channel.basic_get(queue.name) is None
    del message
    gc.collect()
    assert receive(connection, queue, 1) == ["a"]


def test_an_ack_through_a_closed_channel_arrives(connection: Any, queue: Any, inspector: BrokerInspector) -> None:
    send(connection, queue, "a")
    channel = connection.channel()
    message = channel.basic_get(queue.name)
    channel.close()
    assert inspector.stats(queue.name).leased == 1
    message.ack()
    eventually(lambda: not (inspector.stats(queue.name).acked < 1), "settled")
    assert (inspector.stats(queue.name).leased, inspector.stats(queue.name).depth) == (0, 0)


def test_cancelling_gives_back_what_was_not_delivered(connection: Any, queue: Any) -> None:
    send(connection, queue, *range(20))
    seen: list[Any] = []
    with Consumer(connection, [queue], on_message=seen.append, prefetch_count=10):
        connection.drain_events(timeout=30)
    seen[0].ack()
    assert receive(connection, queue, 19, prefetch=5) == list(range(1, 20))


def test_purge_size_and_delete(connection: Any, queue: Any) -> None:
    send(connection, queue, *range(7))
    assert queue.queue_declare(passive=True).message_count == 7
    assert queue.purge() == 7
    assert queue.queue_declare(passive=True).message_count == 0
    queue.delete()
    with pytest.raises(ChannelError):
        queue.queue_declare(passive=True)


def test_simple_queue(connection: Any) -> None:
    simple = connection.SimpleQueue(f"simple-{uuid4().hex}")
    simple.put({"hello": 1})
    assert simple.qsize() == 1
    message = simple.get(timeout=30)
    assert message.payload == {"hello": 1}
    message.ack()
    with pytest.raises(simple.Empty):
        simple.get(timeout=0.2)
    simple.queue.delete()
    simple.close()


def test_a_split_queue_uses_all_its_parts_and_looks_like_one(cluster: LocalCluster) -> None:
    name = f"split-{uuid4().hex}"
    options = {"partitions": {name: 3}}
    inspector = BrokerInspector(cluster.url, options)
    with Connection(cluster.url, transport_options=options) as connection:
        channel: Any = connection.default_channel
        queue = Queue(name)(channel)
        queue.declare()
        send(connection, queue, *range(60))
        sizes = [sum(channel.broker.stats(part)[-1]) for part in channel.broker.parts(name)]
        assert sum(sizes) == 60
        assert min(sizes) > 0
        declared: Any = queue.queue_declare(passive=True)
        assert declared.message_count == inspector.stats(name).depth == 60
        got: Any = queue.get(no_ack=True)
        assert sorted([got.payload, *receive(connection, queue, 59, prefetch=7)]) == list(range(60))
        eventually(lambda: inspector.stats(name).acked == 60, "all are acknowledged")
        send(connection, queue, *range(9))
        assert queue.purge() == 9
        queue.delete()
        call = channel.broker.cluster.call
        assert not [key for part in channel.broker.parts(name) for key in part.every if call(key, "EXISTS", key)]
    inspector.close()


def test_a_durable_publish_waits_for_replicas(cluster: LocalCluster) -> None:
    name = f"durable-{uuid4().hex}"
    with Connection(cluster.url, transport_options={"durable_replicas": 1}) as connection:
        queue = Queue(name)(connection.default_channel)
        queue.declare()
        send(connection, queue, "safe")
        assert receive(connection, queue, 1) == ["safe"]
    # Nobody has two replicas: its fate is unknown, and it is not stored twice however often it is tried.
    options = {"durable_replicas": 2, "retry_deadline": 2.5}
    with Connection(cluster.url, transport_options=options) as connection:
        queue = Queue(name)(connection.default_channel)
        with pytest.raises(ClusterUnavailableError, match=r"[01] of 2 replicas confirmed"):
            send(connection, queue, "unknown")
        declared: Any = queue.queue_declare(passive=True)
        assert declared.message_count == 1
        queue.delete()


def test_direct_and_topic_exchanges(connection: Any) -> None:
    name = uuid4().hex
    topic = Exchange(f"topic-{name}", type="topic")
    channel = connection.default_channel
    queues = [Queue(f"{key}-{name}", topic, routing_key=key)(channel) for key in ("a.*", "a.#", "b.x")]
    for queue in queues:
        queue.declare()
    # Another connection, as another process: it must learn the bindings from the cluster.
    with Connection(connection.as_uri(include_password=True)) as other:
        producer = Producer(other.default_channel, exchange=topic)
        for key in ("a.x", "a.x.y", "b.x", "c"):
            producer.publish(key, routing_key=key)
    got = [[m.payload for m in iter(partial(queue.get, no_ack=True), None)] for queue in queues]
    assert got == [["a.x"], ["a.x", "a.x.y"], ["b.x"]]
    for queue in queues:
        queue.delete()


def test_fanout_reaches_everyone_bound_and_nobody_else(cluster: LocalCluster) -> None:
    exchange = Exchange(f"fanout-{uuid4().hex}", type="fanout")
    with Connection(cluster.url) as one, Connection(cluster.url) as two, Connection(cluster.url) as sender:
        Producer(sender.default_channel, exchange=exchange).publish("before anybody listens")
        got: dict[str, list[Any]] = {"one": [], "two": []}

        def note(name: str, message: Any) -> None:
            got[name].append(message.payload)

        consumers = []
        for name, connection in (("one", one), ("two", two)):
            queue = Queue(f"{name}-{exchange.name}", exchange, exclusive=True, auto_delete=True)
            consumer = Consumer(connection, [queue], no_ack=True, on_message=partial(note, name))
            consumer.consume()
            consumers.append(consumer)
        producer = Producer(sender.default_channel, exchange=exchange)
        for number in range(3):
            producer.publish(number)
        for name, connection in (("one", one), ("two", two)):
            while len(got[name]) < 3:
                connection.drain_events(timeout=30)
        assert got == {"one": [0, 1, 2], "two": [0, 1, 2]}
        for consumer in consumers:
            consumer.cancel()


def test_a_broadcast_queue_may_be_declared_on_another_channel(connection: Connection) -> None:
    exchange = Exchange(f"fanout-{uuid4().hex}", type="fanout")
    queue = Queue(f"declared-{exchange.name}", exchange)
    queue(connection.channel()).declare()
    producer = Producer(connection.channel(), exchange=exchange)
    producer.publish("after it was bound")
    got: list[Any] = []
    with Consumer(connection.default_channel, [queue], no_ack=True, on_message=lambda m: got.append(m.payload)):
        producer.publish("after it was consumed")
        while len(got) < 2:
            connection.drain_events(timeout=30)
    assert got == ["after it was bound", "after it was consumed"]


def test_an_expired_reply_queue_is_not_made_again(connection: Any, cluster: LocalCluster) -> None:
    name = f"reply-{uuid4().hex}"
    exchange = Exchange("replies", type="direct", durable=False)
    queue = Queue(name, exchange, routing_key=name, expires=60, durable=False)(connection.default_channel)
    queue.declare()
    with Connection(cluster.url) as responder:
        producer = Producer(responder.default_channel, exchange=exchange)
        producer.publish("in time", routing_key=name)
        message = queue.get(no_ack=True)
        assert message is not None
        expire(connection, queue)
        assert not connection.default_channel._has_queue(name)
        producer.publish("too late", routing_key=name)
        assert not connection.default_channel._has_queue(name)


def test_a_broadcast_during_a_reconnect_arrives(cluster: LocalCluster) -> None:
    exchange = Exchange(f"fanout-{uuid4().hex}", type="fanout")
    queue = Queue(f"mailbox-{exchange.name}", exchange, exclusive=True)
    got: list[Any] = []

    def note(message: Any) -> None:
        got.append(message.payload)

    with Connection(cluster.url) as sender:
        producer = Producer(sender.default_channel, exchange=exchange)
        for number in range(3):
            with (
                Connection(cluster.url) as listener,
                Consumer(listener, [queue], no_ack=True, on_message=note),
            ):
                if number:
                    listener.drain_events(timeout=30)
            producer.publish(number)
    assert got == [0, 1]


def test_a_late_reply_through_the_default_exchange_makes_nothing_again(connection: Any, cluster: LocalCluster) -> None:
    queue = Queue(f"reply-{uuid4().hex}", expires=60, durable=False)(connection.default_channel)
    queue.declare()
    keys = connection.default_channel.broker.keys(queue.name)
    with Connection(cluster.url) as responder:
        producer = Producer(responder.default_channel)
        producer.publish("in time", routing_key=queue.name)
        assert queue.get(no_ack=True) is not None
        expire(connection, queue)
        call = connection.default_channel.broker.cluster.call
        producer.publish("too late", routing_key=queue.name)
        assert [key for key in (*keys.every, keys.wake) if call(key, "EXISTS", key)] == []


def test_acks_that_are_sent_late_do_not_make_a_deleted_queue_again(connection: Any) -> None:
    queue = Queue(f"deleted-{uuid4().hex}")(connection.default_channel)
    queue.declare()
    send(connection, queue, 1, 2, 3)
    messages: list[Any] = [queue.get() for _ in range(3)]
    session = connection.default_channel.session
    for message in messages:
        message.ack()
    queue.delete()
    eventually(lambda: not session.unsent(), "the acks were sent")
    with pytest.raises(ChannelError):
        queue.queue_declare(passive=True)


def test_a_forked_producer_does_not_pass_for_its_parent(connection: Any, queue: Any) -> None:
    send(connection, queue, "before")
    child = os.fork()
    if child == 0:
        try:
            send(connection, queue, *range(20))
        finally:
            os._exit(0)
    send(connection, queue, *range(20, 40))
    os.waitpid(child, 0)
    received = receive(connection, queue, 41, prefetch=10)
    assert received[0] == "before"
    assert sorted(received[1:]) == list(range(40))


def test_connections_of_ones_own_can_be_made_for_ever(connection: Any) -> None:
    cluster = connection.default_channel.broker.cluster
    for _ in range(150):
        cluster.connect("broker:{any}").close()


def test_whoever_watches_the_clock_hands_it_on_when_it_stops(cluster: LocalCluster) -> None:
    name = f"watched-{uuid4().hex}"
    # Consumers of two processes: sessions belong to a process and its options.
    # By itself the second one looks after an hour.
    other = {"client_name": "other", "idle_timeout": 3600, "lease": 14400}
    with Connection(cluster.url) as first, Connection(cluster.url, transport_options=other) as second:
        queue = Queue(name)
        got: list[float] = []
        with Consumer(
            second, [queue(second.default_channel)], on_message=lambda _: got.append(time.time()), no_ack=True
        ):
            with Consumer(first, [queue(first.default_channel)], no_ack=True):
                eta = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
                Producer(first.default_channel).publish("later", routing_key=name, headers={"eta": eta})
                for connection in (first, second, first):
                    with pytest.raises(socket.timeout):
                        connection.drain_events(timeout=0.3)
                due = time.time() + 1.5
                channel: Any = first.default_channel
                come_due(channel.broker, channel.broker.keys(name), due)
            second.drain_events(timeout=60)
        assert got[0] >= due
        queue(first.default_channel).delete()


def test_a_consumed_temporary_queue_stays(connection: Any, cluster: LocalCluster) -> None:
    queue = Queue(f"temporary-{uuid4().hex}", expires=12, durable=False)(connection.default_channel)
    queue.declare()
    meta = connection.default_channel.broker.keys(queue.name).meta

    def expires_at() -> int:
        return int(cluster.primary_for(meta).admin.pexpiretime(meta))

    got: list[Any] = []
    with Consumer(connection, [queue], no_ack=True, on_message=lambda m: got.append(m.payload)):
        first = expires_at()
        eventually(lambda: expires_at() > first, "it is prolonged")
        send(connection, queue, "still here")
        connection.drain_events(timeout=30)
    assert got == ["still here"]


def test_an_undecodable_message_goes_to_the_dead_list_and_stops_nobody(
    connection: Any, queue: Any, inspector: BrokerInspector
) -> None:
    broker = connection.default_channel.broker
    keys = broker.keys(queue.name)
    broker.publish(keys, b"\xff not json", message_id="bad", lane=uuid4().hex, number=1)
    send(connection, queue, "good")
    assert receive(connection, queue, 1) == ["good"]
    assert inspector.stats(queue.name).dead == 1


def test_many_threads_publish(connection: Any, queue: Any, cluster: LocalCluster) -> None:
    def publish(number: int) -> None:
        with Connection(cluster.url) as own:
            send(own, queue, *(f"{number}-{i}" for i in range(50)))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    received = receive(connection, queue, 400, prefetch=50)
    assert sorted(received) == sorted(f"{number}-{i}" for number in range(8) for i in range(50))
    for number in range(8):
        own = [body for body in received if body.startswith(f"{number}-")]
        assert own == [f"{number}-{i}" for i in range(50)]


def test_a_server_that_is_no_cluster_is_named() -> None:
    with single_redis() as address, pytest.raises(ConfigurationError, match="not in cluster mode"):
        Connection(f"rediscluster://{address}").connect()


def test_a_cluster_that_evicts_is_warned_of(cluster: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    node = cluster.primaries[0]
    admin = cluster.admin(node)
    admin.config_set("maxmemory-policy", "volatile-lru")
    try:
        with Connection(cluster.url, transport_options={"client_name": uuid4().hex}) as connection:
            connection.connect()
    finally:
        admin.config_set("maxmemory-policy", "noeviction")
    assert f":{node.port} evicts keys when its memory is full (maxmemory-policy volatile-lru)" in caplog.text


def test_wrong_credentials_are_named(cluster: LocalCluster) -> None:
    host = cluster.url.rpartition("@")[2]
    with pytest.raises(ConfigurationError, match="refused the credentials"):
        Connection(f"rediscluster://worker:wrong@{host}").connect()


def test_tls(tls_cluster: LocalCluster) -> None:
    ssl = {"ssl_ca_certs": str(tls_cluster.ca_file)}
    with Connection(tls_cluster.url, ssl=ssl) as connection:
        queue = Queue(f"tls-{uuid4().hex}")(connection.default_channel)
        queue.declare()
        send(connection, queue, *range(20))
        assert receive(connection, queue, 20, prefetch=5) == list(range(20))
        queue.delete()
