"""What is measured: each function takes a broker's URL and returns something per second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from kombu import Connection, Consumer, Producer, Queue

import service.rediscluster  # noqa: F401 - registers the URL schemes

#: Body of a message: about 1 kB as JSON.
BODY = {"args": ["x" * 900], "kwargs": {}}


def publish(number: int, url: str) -> float:
    """Messages published per second by one connection."""
    with Connection(url) as connection:
        queue, producer = _queue(connection), Producer(connection.default_channel)
        producer.publish(BODY, routing_key=queue.name)
        started = time.perf_counter()
        for _ in range(number):
            producer.publish(BODY, routing_key=queue.name)
        rate = number / (time.perf_counter() - started)
        queue.delete()
    return rate


def consume(number: int, prefetch: int, url: str) -> float:
    """Messages received and acknowledged per second by one consumer."""
    with Connection(url) as connection:
        queue, producer = _queue(connection), Producer(connection.default_channel)
        for _ in range(number):
            producer.publish(BODY, routing_key=queue.name)
        done = 0

        def take(message: Any) -> None:
            nonlocal done
            done += 1
            message.ack()

        with Consumer(connection, [queue], on_message=take, prefetch_count=prefetch):
            started = time.perf_counter()
            while done < number:
                connection.drain_events(timeout=10)
            rate = number / (time.perf_counter() - started)
        queue.delete()
    return rate


def tasks(number: int, url: str) -> float:
    """Celery no-op tasks per second, late acks, prefork with two processes, without results."""
    environment = os.environ | {"BENCH_URL": url}
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "bench.noop",
        "worker",
        "-c",
        "2",
        "-l",
        "WARNING",
        "-P",
        "prefork",
    ]
    subprocess.run([sys.executable, "-m", "bench.noop", "fill", str(number)], env=environment, check=True)
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait = [sys.executable, "-m", "bench.noop", "wait", str(number)]
        return float(subprocess.run(wait, env=environment, check=True, capture_output=True, text=True).stdout)
    finally:
        worker.kill()
        worker.wait()


MEASURES: dict[str, Callable[[str], float]] = {
    "publish": partial(publish, 3000),
    "consume and ack, prefetch 1": partial(consume, 2000, 1),
    "consume and ack, prefetch 10": partial(consume, 3000, 10),
    "consume and ack, prefetch 100": partial(consume, 3000, 100),
    "Celery no-op tasks, prefork 2": partial(tasks, 3000),
}


def _queue(connection: Any) -> Any:
    queue = Queue(f"bench-{uuid4().hex}")(connection.default_channel)
    queue.declare()
    return queue
