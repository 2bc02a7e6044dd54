"""A Celery app that does nothing, and how long it takes: `python -m bench.noop fill|wait NUMBER`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from celery import Celery
from kombu import Queue

import service.rediscluster  # noqa: F401 - registers the URL schemes

URL = os.environ.get("BENCH_URL", "memory://")

app = Celery("bench", broker=URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_default_queue="bench-noop",
)


@app.task
def noop() -> None:
    """Nothing."""


def left() -> int:
    """Messages that nobody has taken yet."""
    with app.connection_for_read() as connection:
        answer: Any = Queue("bench-noop")(connection.default_channel).queue_declare()
    return int(answer.message_count)


def wait(number: int) -> float:
    """Tasks per second between the first tenth and the end of the queue: without the worker's start."""
    while left() > number * 0.9:
        time.sleep(0.01)
    started, first = time.perf_counter(), left()
    while (now := left()) > 0:
        time.sleep(0.02)
    return (first - now) / (time.perf_counter() - started)


if __name__ == "__main__":
    action, count = sys.argv[1], int(sys.argv[2])
    if action == "fill":
        for _ in range(count):
            noop.delay()
    else:
        print(wait(count))
