"""Messages per second through kombu."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu import Consumer, Producer, Queue

from bench.errors import BenchError
from bench.sides import Side

#: Body of a message: about 1 kB as JSON.
BODY = {"args": ["x" * 900], "kwargs": {}}
#: Seconds without a message after which a measure gives up.
SILENCE = 30


def publish(side: Side, number: int = 3000) -> float:
    """Messages published per second by one connection."""
    with queue_of(side) as (_, queue, producer):
        producer.publish(BODY, routing_key=queue.name)
        started = time.perf_counter()
        fill(producer, queue, number)
        return number / (time.perf_counter() - started)


def consume(side: Side, prefetch: int, number: int = 2500) -> float:
    """Messages received and acknowledged per second by one consumer."""
    with queue_of(side) as (connection, queue, producer):
        fill(producer, queue, number)
        return number / drain(connection, queue, prefetch, number)


@contextmanager
def queue_of(side: Side) -> Iterator[tuple[Any, Any, Any]]:
    """A connection, the side's queue and a producer; everything is gone at the end."""
    with side.connect() as connection:
        channel = connection.default_channel
        queue = Queue(side.queue)(channel)
        queue.declare()
        yield connection, queue, Producer(channel)
    side.clear()


def fill(producer: Any, queue: Any, number: int) -> None:
    """Publish so many messages."""
    for _ in range(number):
        producer.publish(BODY, routing_key=queue.name)


def drain(connection: Any, queue: Any, prefetch: int, number: int) -> float:
    """Take and acknowledge so many messages; returns the seconds that took."""
    done = 0

    def take(message: Any) -> None:
        nonlocal done
        done += 1
        message.ack()

    with Consumer(connection, [queue], on_message=take, prefetch_count=prefetch):
        started = time.perf_counter()
        while done < number:
            try:
                connection.drain_events(timeout=SILENCE)
            except TimeoutError:
                raise BenchError(f"{done} of {number} messages came, then none for {SILENCE} s") from None
        return time.perf_counter() - started
