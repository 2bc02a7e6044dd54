"""What a Celery worker does: tasks per second, and how soon one task runs."""

from __future__ import annotations

import math
import random
import statistics
import time

from bench.errors import BenchError
from bench.sides import Side
from bench.worker import Inbox, Publisher, worker

#: Tasks of a run with or without results, and how many of them for one mark.
TASKS, EVERY = 1500, 50
#: Single tasks.
SINGLES = 200


def tasks(side: Side) -> dict[str, list[float]]:
    """Rates and latencies of one worker with two processes.

    The queue is filled before the worker starts: first tasks whose results nobody wants, then tasks with results. Then
    the worker is idle and gets tasks one by one; their latency is from before the publish to inside the task.
    """
    with Inbox() as inbox, Publisher(side) as publisher:
        publisher.fill(TASKS, every=EVERY)
        publisher.fill(TASKS, every=EVERY, results=True)
        with worker(side, inbox):
            marks = [inbox.read()[0] for _ in range(2 * TASKS // EVERY)]
            time.sleep(0.5)
            latencies = [_latency(publisher, inbox) for _ in range(SINGLES)]
    side.clear()
    half = len(marks) // 2
    return {
        "tasks": [rate(marks[:half])],
        "tasks-results": [rate(marks[half:])],
        "latency-p50": [statistics.median(latencies) * 1000],
        "latency-p99": [quantile(latencies, 0.99) * 1000],
    }


def rate(marks: list[float]) -> float:
    """Tasks per second from the moments of marked tasks, the first fifth left out: the pool is starting."""
    counted = sorted(marks)[len(marks) // 5 :]
    return EVERY * (len(counted) - 1) / (counted[-1] - counted[0])


def quantile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _latency(publisher: Publisher, inbox: Inbox) -> float:
    # Not in step with anything that the worker does periodically.
    time.sleep(random.uniform(0.01, 0.02))
    started = time.monotonic()
    publisher.send("single")
    moment, mark = inbox.read()
    if mark != "single":
        raise BenchError(f"a mark {mark!r} came late")
    return moment - started
