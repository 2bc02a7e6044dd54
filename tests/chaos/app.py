"""The Celery app of the chaos suite; its tasks note in the ledger, outside the cluster, what they do."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import uuid4

from celery import Celery, signals

from tests.chaos import ledger
from tests.chaos.credentials import FileCredentials
from tests.rediscluster import faultapp
from tests.rediscluster.faultapp import Plan

#: Seconds between two looks at the clock by which a worker finds out that it stood still.
LOOK_EVERY = 0.2
#: The environment variable through which a worker learns its plan.
PLAN = "CHAOS_PLAN"


def make_app(plan: Plan) -> Celery:
    """The fleet's app, as its workers and its producers use it."""
    provider = {"credential_provider": credentials(plan)}
    app = faultapp.make_app(replace(plan, options=plan.options | provider))
    app.conf.result_backend_transport_options = app.conf.result_backend_transport_options | provider
    for function in (work, part, body):
        app.task(name=function.__name__)(function)
    for completing in (pay, confirm):
        app.task(name=completing.__name__, once=True)(completing)
    return app


def credentials(plan: Plan) -> FileCredentials:
    """Where all processes of a run find user name and password."""
    return FileCredentials(f"{plan.directory}/credentials")


@cache
def my_plan() -> Plan:
    """The plan of this worker."""
    return Plan(**json.loads(os.environ[PLAN]))


def note(event: str, number: int, token: str = ledger.NO_TOKEN) -> None:
    """Write a line of the ledger."""
    ledger.write(my_plan().ledger, ledger.Line(event, number, WORKER, os.getpid(), time.monotonic(), token))


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


def pay(number: int) -> str:
    """Complete once; each run would return something else."""
    note("began", number)
    note("done", number)
    return uuid4().hex


def confirm(token: str, number: int, paid: int) -> None:
    """What follows a payment: it tells what that returned."""
    note("began", number)
    note("returned", paid, token)
    note("done", number)


def watch_for_stalls() -> None:
    """Note when this process stood still for so long that it may have missed the renewal of its leases."""
    threshold = my_plan().options["lease"] / 3
    while True:
        slept_at = time.monotonic()
        time.sleep(LOOK_EVERY)
        stood_still = time.monotonic() - slept_at - LOOK_EVERY
        if stood_still > threshold:
            note("stalled", round(stood_still * 1000))


def _ready(**_: object) -> None:
    threading.Thread(target=watch_for_stalls, daemon=True).start()
    note("ready", 0)


#: The main process of the worker: this module is imported before the pool forks.
WORKER = os.getpid()

worker_app: Any = None
if PLAN in os.environ:
    worker_app = make_app(my_plan())
    signals.worker_ready.connect(_ready)
