"""The Celery app of these tests, in the worker and in the test alike."""

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task

import service.rediscluster  # noqa: F401 - registers the URL schemes
from service.rediscluster.worker import BadMessages

URL = os.environ.get("TEST_CLUSTER_URL", "rediscluster://unset")

app = Celery("conformance", broker=URL, backend=URL)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("TEST_QUEUE", "conformance"),
    result_compression="gzip",
    result_expires=600,
    broker_transport_options={"lease": 5},
)
app.steps["consumer"].add(BadMessages)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def echo(value: Any) -> Any:
    return value


@app.task
def fail(message: str) -> None:
    raise ValueError(message)


@app.task(bind=True, max_retries=5)
def flaky(self: Task[Any, Any], failures: int) -> int:
    if self.request.retries < failures:
        raise self.retry(countdown=0.2)
    return int(self.request.retries)


@app.task(ignore_result=True)
def forgotten(key: str) -> None:
    """Nothing to tell."""


@app.task(bind=True)
def nested(self: Task[Any, Any], numbers: list[int]) -> Any:
    """Replace itself by a chord."""
    return self.replace(total.si(numbers) | add.s(1))


@app.task
def stamp() -> float:
    return time.time()


@app.task
def until_there(path: str) -> None:
    """End when a file exists."""
    while not Path(path).exists():
        time.sleep(0.02)


@app.task
def until_stopped(seconds: float) -> None:
    time.sleep(seconds)
