"""A shard that is full or slow: who writes waits until there is room, and other queues go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu import Connection, Consumer, Producer, Queue
from redis import exceptions

from scripts.localcluster import LocalCluster
from service.rediscluster.receiver import REST
from tests.rediscluster.faultkit import direct, eventually, take_all


@contextmanager
def full(cluster: LocalCluster, key: str) -> Iterator[Callable[[], int]]:
    """The memory of a key's primary is full; yields how often it refused something because of that."""
    admin = cluster.admin(cluster.primary_for(key))

    def refused() -> int:
        return int(dict(admin.info("errorstats")).get("errorstat_OOM", {"count": 0})["count"])

    before = refused()
    admin.config_set("maxmemory", 1)
    try:
        yield lambda: refused() - before
    finally:
        admin.config_set("maxmemory", 0)


def test_a_publish_and_a_result_wait_until_there_is_room(cluster: LocalCluster) -> None:
    name = f"full-{uuid4().hex}"
    app: Any = Celery("full", broker=cluster.url, backend=cluster.url, set_as_current=False)
    with direct(cluster.url, name) as (broker, keys):
        broker.declare(keys)

        def publish() -> Any:
            return broker.publish(keys, b"x", message_id="m", lane="l", number=1)

        def store() -> Any:
            return app.backend.store_result(task, 7, "SUCCESS")

        task = uuid4().hex
        for key, write in ((keys.meta, publish), (app.backend.get_key_for_task(task), store)):
            thread = threading.Thread(target=write)
            with full(cluster, key) as refused:
                thread.start()
                eventually(lambda refused=refused: refused() > 1, "it was refused, and tried again")  # type: ignore[misc]
            thread.join()
    assert [delivery.payload for delivery in take_all(cluster.url, name)] == [b"x"]
    assert app.AsyncResult(task).get(timeout=60) == 7
    app.close()


def test_a_memory_that_stays_full_is_told(cluster: LocalCluster) -> None:
    name = f"full-{uuid4().hex}"
    with direct(cluster.url, name, retry_deadline=0.5) as (broker, keys):
        broker.declare(keys)
        with full(cluster, keys.meta), pytest.raises(exceptions.OutOfMemoryError):
            broker.publish(keys, b"x", message_id="m", lane="l", number=1)
    assert not take_all(cluster.url, name)


def test_a_slow_queue_leaves_the_time_to_the_others(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = f"slow-{uuid4().hex}", f"quick-{uuid4().hex}"
    asked: list[tuple[float, float]] = []
    got = {slow: 0, quick: 0}
    connection: Any
    with Connection(cluster.url) as connection:
        producer = Producer(connection.default_channel)
        queues = [Queue(name) for name in (slow, quick)]
        for queue in queues:
            queue(connection.default_channel).declare()
            for number in range(200):
                producer.publish(number, routing_key=queue.name)
        session = connection.transport.session
        settle, nobody, consumer = session.settle, threading.Event(), threading.current_thread()

        def delayed(queue: Any, *args: Any) -> Any:
            # Acknowledgements that nothing takes along are sent by another thread, which holds nobody up.
            if queue.queue != slow or threading.current_thread() is not consumer:
                return settle(queue, *args)
            began = time.monotonic()
            # What a slow node costs: there is nothing to wait for.
            nobody.wait(0.15)
            settlement = settle(queue, *args)
            asked.append((began, time.monotonic()))
            return settlement

        def take(message: Any) -> None:
            got[message.delivery_info["routing_key"]] += 1
            message.ack()

        monkeypatch.setattr(session, "settle", delayed)
        with Consumer(connection, queues, on_message=take, prefetch_count=4):
            # One slow answer makes the queue rest for a multiple of it.
            while got[quick] < 200:
                connection.drain_events(timeout=120)
            while got[slow] < 20:
                connection.drain_events(timeout=120)
        # After each answer it rests for a multiple of the time that the answer took, however busy the machine is.
        for (began, ended), (again, _) in pairwise(asked):
            assert again - ended > 0.9 * REST * (ended - began), asked
        assert len(asked) > 4
        for queue in queues:
            queue(connection.default_channel).delete()
