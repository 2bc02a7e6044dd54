"""What clients of kombu do wrong, or have done to them: forks, lost replies, full tables, queues that go away."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from kombu import Connection, Consumer, Producer, Queue
from redis import exceptions
from redis.credentials import CredentialProvider

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector
from service.rediscluster.channel import Channel
from service.rediscluster.cluster import Cluster
from service.rediscluster.options import parse
from tests.rediscluster.faultkit import PATIENCE, Verdict, come_due, direct, eventually


@pytest.fixture
def name() -> str:
    return f"client-{uuid4().hex}"


def new_channel(connection: Connection) -> Channel:
    return cast(Channel, connection.channel())


def send(connection: Connection, queue: str, *bodies: Any, **options: Any) -> None:
    producer = Producer(connection.default_channel)
    for body in bodies:
        producer.publish(body, routing_key=queue, **options)


def drain(connection: Connection, until: Callable[[], Any], what: str, within: float = PATIENCE) -> None:
    ends = time.monotonic() + within
    while not until():
        assert time.monotonic() < ends, f"{what}: not within {within:g} s"
        with contextlib.suppress(socket.timeout):
            connection.drain_events(timeout=0.2)


def keys_left(cluster: LocalCluster, queue: str) -> list[str]:
    return [key for node in cluster.primaries for key in node.admin.scan_iter(f"*{{{queue}}}*")]


def test_forked_producers_lose_nothing(connection: Connection, name: str, inspector: BrokerInspector) -> None:
    Queue(name)(connection.default_channel).declare()
    send(connection, name, *range(3))
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                send(connection, name, *range(20))
                status = 0
            finally:
                # Nothing of the test run may go on in the child.
                os._exit(status)
        children.append(child)
    send(connection, name, *range(20))
    statuses = [os.waitpid(child, 0)[1] for child in children]
    stored = inspector.stats(name).depth
    assert (stored, statuses) == (83, [0, 0, 0]), f"forked three producers: sent 83, stored {stored}"


def test_a_message_whose_publish_is_repeated_arrives_once(connection: Connection, name: str) -> None:
    """kombu repeats a publish that failed; here the reply is lost, and the transport's own repetition fails as well."""
    channel = new_channel(connection)
    Queue(name)(channel).declare()
    cluster = channel.session.broker.cluster
    original, lost = cluster.script_once, [0]

    def lossy(*args: Any) -> Any:
        reply = original(*args)
        if args[0].name == "publish" and lost[0] < 1:
            lost[0] += 1
            raise exceptions.TimeoutError("the reply was lost")
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "script_once", lossy)
        # Too short for a second attempt: it is kombu that repeats.
        patch.setattr(cluster, "options", parse(connection.as_uri(include_password=True), {"retry_deadline": 0.01}))
        Producer(channel).publish("once", routing_key=name, retry=True, retry_policy={"interval_start": 0.01})
    assert lost[0] == 1
    assert channel._size(name) == 1, "the reply to its first publish was lost"


def test_a_lost_reply_hides_no_message(connection: Connection, name: str, inspector: BrokerInspector) -> None:
    """Messages that a request leased, although its caller never heard of it, reach whoever comes next."""
    channel = new_channel(connection)
    queue = Queue(name)(channel)
    queue.declare()
    send(connection, name, *range(10))
    session, keys = channel.session, channel.broker.keys(name)
    cluster = session.broker.cluster
    original = cluster.script_once

    def lossy(*args: Any) -> Any:
        original(*args)
        raise exceptions.TimeoutError("the reply was lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "script_once", lossy)
        with pytest.raises(exceptions.TimeoutError):
            session.settle(keys, 8)
    assert inspector.stats(name).leased == 8
    got = []
    while (message := queue.get()) is not None:
        got.append(message.payload)
        message.ack()
    judged = Verdict("the reply to a request for eight messages was lost", frozenset(range(10)), Counter(got))
    judged.demand()
    eventually(lambda: inspector.stats(name).leased == 0, f"nothing is held. {judged}")


def test_cancelling_hands_over_what_was_buffered_and_the_clock(cluster: LocalCluster, name: str) -> None:
    """The consumer that goes has messages in its buffer, and is the one that watches the time for all."""
    sent = frozenset(range(31))
    run: list[int] = []
    kept: list[Any] = []
    # Another name makes it another session: as if it were another process.
    # By itself it looks after an hour.
    elsewhere = {"client_name": "elsewhere", "idle_timeout": 3600, "lease": 14400}
    with Connection(cluster.url) as first, Connection(cluster.url, transport_options=elsewhere) as other:
        # With credit to spare: without it, it would not watch the clock.
        leaving = Consumer(first, [Queue(name)], on_message=kept.append, prefetch_count=50)
        leaving.consume()
        with contextlib.suppress(socket.timeout):
            first.drain_events(timeout=0.1)
        send(other, name, 30, headers={"eta": datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()})
        with contextlib.suppress(socket.timeout):
            first.drain_events(timeout=0.5)

        def take(body: Any, message: Any) -> None:
            run.append(body)
            message.ack()

        with Consumer(other, [Queue(name)], callbacks=[take], prefetch_count=5):
            with contextlib.suppress(socket.timeout):
                other.drain_events(timeout=0.3)
            send(other, name, *range(30))
            first.drain_events(timeout=30)
            broker = new_channel(first).broker
            come_due(broker, broker.keys(name), time.time() + 1.5)
            leaving.cancel()
            # What was delivered is the leaver's to settle; the rest comes back by itself.
            kept.pop().requeue()
            first.close()
            drain(other, lambda: len(set(run)) == len(sent), f"all arrive, got {run}")
        Verdict("the consumer that watched the clock left", sent, Counter(run)).demand()


def test_a_deleted_queue_stays_deleted(connection: Connection, name: str, cluster: LocalCluster) -> None:
    channel = new_channel(connection)
    queue = Queue(name)(channel)
    queue.declare()
    send(connection, name, *range(3))
    kept = [message for _ in range(3) if (message := queue.get())]
    for message in kept[:2]:
        message.ack()
    queue.delete()
    kept[2].ack()
    # By then everything that waited to be sent has been sent.
    eventually(lambda: not channel.session.unsent(), "the late acks are sent")
    left = keys_left(cluster, name)
    assert not left, f"deleted a queue just after acknowledging three messages: {left} are back"


def test_an_expired_queue_leaves_nothing_and_is_not_made_again(
    connection: Connection, name: str, cluster: LocalCluster
) -> None:
    channel = new_channel(connection)
    queue = Queue(name, expires=60)(channel)
    queue.declare()
    send(connection, name, *range(3))
    held = queue.get()
    assert held is not None
    channel.broker.touch(channel.broker.keys(name), 1)
    eventually(lambda: not channel._has_queue(name), "the queue expires")
    held.ack()
    send(connection, name, "too late")
    eventually(lambda: not channel.session.unsent(), "the late ack is sent")
    # What says that the queue is gone may stay for its time.
    stay = [key for key in keys_left(cluster, name) if cluster.primary_for(key).admin.pttl(key) < 0]
    assert not stay, f"acknowledged and published after a queue had expired: {stay} are there for ever"
    assert not channel._has_queue(name), "the publish made the queue again"


@pytest.mark.parametrize("prefetch", [0, 3])
def test_two_channels_of_one_connection_share_a_queue(connection: Connection, name: str, prefetch: int) -> None:
    run: list[list[int]] = [[], []]

    def take(mine: list[int]) -> Callable[[Any, Any], None]:
        def callback(body: Any, message: Any) -> None:
            # The odd ones go back once.
            if body % 2 and not message.headers.get("redelivered"):
                message.requeue()
            else:
                mine.append(body)
                message.ack()

        return callback

    sent = range(60)
    Queue(name)(connection.default_channel).declare()
    send(connection, name, *sent)
    consumers = [
        Consumer(connection.channel(), [Queue(name)], callbacks=[take(mine)], prefetch_count=prefetch) for mine in run
    ]
    with consumers[0], consumers[1]:
        drain(connection, lambda: len({*run[0], *run[1]}) == len(sent), f"all arrive, got {run}")
    broke = f"two channels, prefetch {prefetch}, every second message requeued"
    Verdict(broke, frozenset(sent), Counter(run[0] + run[1])).demand()


def test_consumers_that_come_and_go_leave_no_lease_and_no_descriptor(
    cluster: LocalCluster, name: str, inspector: BrokerInspector
) -> None:
    sent = frozenset(range(300))
    run: list[int] = []

    def take(body: Any, message: Any) -> None:
        run.append(body)
        message.ack()

    def round_of(numbers: range) -> None:
        with Connection(cluster.url) as opened:
            send(opened, name, *numbers)
            with Consumer(opened.channel(), [Queue(name)], callbacks=[take], prefetch_count=4):
                for _ in numbers[: len(numbers) // 2]:
                    opened.drain_events(timeout=30)
                # Blocks on the wake token for a moment.
                with contextlib.suppress(socket.timeout):
                    opened.drain_events(timeout=0.001)

    def descriptors() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    with direct(cluster.url, name) as (broker, keys):
        broker.declare(keys)
    round_of(range(10))
    before = descriptors()
    for start in range(10, 300, 10):
        round_of(range(start, start + 10))
    with Connection(cluster.url) as last, Consumer(last, [Queue(name)], callbacks=[take]):
        drain(last, lambda: len(set(run)) == len(sent), f"all arrive, got {len(set(run))}")
    judged = Verdict("30 consumers took half of what was there and left", sent, Counter(run))
    judged.demand()
    eventually(lambda: inspector.stats(name).leased == 0, f"nothing is held. {judged}")
    # A pool may have one connection for each of six nodes and each of two brokers more than at first.
    eventually(lambda: descriptors() <= before + 12, f"descriptors: {before} at first, {descriptors()} now", 10)


def test_reconnecting_does_not_use_anything_up(cluster: LocalCluster) -> None:
    """redis-py allows a pool 100 connections by default, and does not take notice of those that were closed."""
    opened = Cluster(parse(cluster.url))
    for _ in range(150):
        opened.connect("anything").close()
    assert opened.call("broker:{anything}", "EXISTS", "broker:{anything}") == 0
    opened.close()


def test_many_open_files_do_not_matter(connection: Connection, name: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        got: list[Any] = []

        def take(body: Any, message: Any) -> None:
            got.append(body)
            message.ack()

        with Consumer(connection, [Queue(name)], callbacks=[take]):
            send(connection, name, "later")
            drain(connection, lambda: got, "a message arrives although descriptors are above 1023")
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.1)


def test_threads_that_publish_and_take_at_once(cluster: LocalCluster, name: str) -> None:
    """All in one process, hence one session: the same leases, lines and lanes."""
    sent = frozenset(range(400))
    run: list[int] = []
    publishing = 4

    def publish(numbers: list[int]) -> None:
        with Connection(cluster.url) as opened:
            send(opened, name, *numbers)

    def take() -> None:
        with Connection(cluster.url) as opened:
            queue = Queue(name)(opened.channel())
            while len(run) < len(sent) and time.monotonic() < ends:
                if (message := queue.get()) is not None:
                    run.append(message.payload)
                    message.ack()

    with Connection(cluster.url) as opened:
        Queue(name)(opened.channel()).declare()
    ends = time.monotonic() + PATIENCE
    threads = [threading.Thread(target=publish, args=(sorted(sent)[n::publishing],)) for n in range(publishing)]
    threads += [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Verdict("four threads publish and three get", sent, Counter(run)).demand()


class Rotating(CredentialProvider):
    """Credentials that change."""

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = user, password

    def get_credentials(self) -> tuple[str, str]:
        return self.user, self.password


def test_rotated_credentials_lose_nothing(cluster: LocalCluster, name: str) -> None:
    provider = Rotating(f"rotating-{uuid4().hex[:8]}", "first")

    def everywhere(*command: str) -> None:
        for node in cluster.nodes:
            node.command(*command)

    everywhere("ACL", "SETUSER", provider.user, "on", ">first", "~*", "&*", "+@all")
    host = cluster.url.rpartition("@")[2]
    got: list[Any] = []
    try:
        with Connection(f"rediscluster://{host}", transport_options={"credential_provider": provider}) as connection:
            queue = Queue(name)(connection.default_channel)
            queue.declare()

            def take(body: Any, message: Any) -> None:
                got.append(body)
                message.ack()

            with Consumer(connection, [queue], callbacks=[take], prefetch_count=5):
                send(connection, name, *range(20))
                drain(connection, lambda: len(got) >= 10, "half arrived")
                everywhere("ACL", "SETUSER", provider.user, "resetpass", ">second")
                everywhere("CLIENT", "KILL", "USER", provider.user)
                provider.password = "second"
                send(connection, name, *range(20, 40))
                drain(connection, lambda: set(got) == set(range(40)), "all arrived after the rotation")
            queue.delete()
    finally:
        everywhere("ACL", "DELUSER", provider.user)
    Verdict("password rotated, connections cut", frozenset(range(40)), Counter(got)).demand()


def test_connections_that_nobody_uses_are_closed(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"unused-{uuid4().hex}"
    with direct(cluster.url, name, client_name=name) as (broker, keys):

        def connections() -> int:
            clients = [client for node in cluster.nodes for client in node.admin.client_list()]
            return sum(client["name"].startswith(name) for client in clients)

        broker.declare(keys)
        assert connections()
        broker.cluster.close_unused()
        assert connections(), "they were used just now"
        monkeypatch.setattr("service.rediscluster.cluster.UNUSED", -1.0)
        broker.cluster._close_unused_at = 0.0
        broker.cluster.close_unused()
        eventually(lambda: not connections(), "all are closed")
        assert broker.exists(keys)
