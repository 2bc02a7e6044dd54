"""The Celery app of the chaos suite; its tasks note in the ledger, outside the cluster, what they do."""

from __future__ import annotations

import json
import os
import time
from functools import cache
from typing import Any

from celery import Celery, signals

from tests.chaos import ledger
from tests.rediscluster import faultapp
from tests.rediscluster.faultapp import Plan

#: The environment variable through which a worker learns its plan.
PLAN = "CHAOS_PLAN"


def make_app(plan: Plan) -> Celery:
    """The fleet's app, as its workers and its producers use it."""
    app = faultapp.make_app(plan)
    for function in (work, part, body):
        app.task(name=function.__name__)(function)
    return app


@cache
def my_plan() -> Plan:
    """The plan of this worker."""
    return Plan(**json.loads(os.environ[PLAN]))


def note(event: str, number: int) -> None:
    """Write a line of the ledger."""
    ledger.write(my_plan().ledger, ledger.Line(event, number, WORKER, os.getpid(), time.monotonic()))


def work(number: int, seconds: float) -> None:
    """Take some time."""
    note("began", number)
    time.sleep(seconds)
    note("done", number)


def part(number: int) -> int:
    """A part of a chord."""
    note("began", number)
    note("done", number)
    return number


def body(results: list[int], number: int, expected: list[int]) -> None:
    """The end of a chord, which is done only if every part's result arrived."""
    note("began", number)
    if sorted(results) != sorted(expected):
        raise ValueError(f"the chord of {expected} got {results}")
    note("done", number)


#: The main process of the worker: this module is imported before the pool forks.
WORKER = os.getpid()

worker_app: Any = None
if PLAN in os.environ:
    worker_app = make_app(my_plan())
    signals.worker_ready.connect(lambda **_: note("ready", 0), weak=False)
