"""The Celery app of the fault tests: its tasks note in a file outside the cluster what they do."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery, chord, signals
from celery.exceptions import SoftTimeLimitExceeded

from service.rediscluster import UnderWay  # importing the package registers the URL schemes
from service.rediscluster.once import Task

#: The environment variable through which a worker learns its plan.
PLAN = "FAULT_PLAN"


@dataclass(frozen=True)
class Plan:
    """What the tests and their workers agree on.

    Attributes:
        url: The cluster.
        directory: Where the ledger and the gates are.
        queue: The only queue.
        options: Transport options.
        conf: Celery settings that differ from the fleet's.
    """

    url: str
    directory: str
    queue: str
    options: dict[str, Any] = field(default_factory=dict)
    conf: dict[str, Any] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        """One line for each event: event, number, worker, process."""
        return Path(self.directory, "ledger")

    def gate(self, name: object) -> Path:
        """A task that waits at a gate ends when this file exists."""
        return Path(self.directory, f"gate-{name}")

    def dump(self) -> str:
        """For the environment of a worker."""
        return json.dumps(asdict(self))


def make_app(plan: Plan) -> Celery:
    """The app of a plan, with the fleet's settings where they matter to faults."""
    app: Celery = Celery("faults", broker=plan.url, backend=plan.url, task_cls=Task, set_as_current=False)
    app.conf.update(
        broker_transport_options=plan.options,
        broker_connection_retry_on_startup=True,
        task_default_queue=plan.queue,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=2,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_proc_alive_timeout=60,
        result_backend_thread_safe=True,
        **plan.conf,
    )
    app.steps["consumer"].add(UnderWay)
    return app


def add_tasks(app: Celery) -> None:
    """Register the tasks below; who only sends them needs their names."""
    for function in (record, slow, wait, wait_for, cling, nap, spin, die, total):
        app.task(name=function.__name__)(function)
    app.task(name="again", bind=True, max_retries=2)(again)
    app.task(name="pay", once=True)(pay)
    app.task(name="pay_slowly", once=True)(pay_slowly)
    app.task(name="pay_called", base=Called, once=True)(pay)
    app.task(name="pay_and_die", base=Deadly, once=True)(pay)


@cache
def my_plan() -> Plan:
    """The plan of this worker."""
    return Plan(**json.loads(os.environ[PLAN]))


def note(event: str, number: int) -> None:
    """Write a line of the ledger."""
    # A write to a file opened for appending is one step, also between processes and threads.
    descriptor = os.open(my_plan().ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{event} {number} {WORKER} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def record(number: int, *_ballast: str) -> int:
    """Do nothing else, however large the message."""
    note("began", number)
    note("done", number)
    return number


def slow(number: int, seconds: float) -> int:
    """Take some time."""
    note("began", number)
    time.sleep(seconds)
    note("done", number)
    return number


def wait(number: int) -> int:
    """End when the gate of this worker opens."""
    return wait_for(number, str(WORKER))


def wait_for(number: int, gate: str) -> int:
    """End when a gate opens."""
    note("began", number)
    try:
        while not my_plan().gate(gate).exists():
            time.sleep(0.02)
    except SystemExit:
        note("cut", number)
        raise
    note("done", number)
    return number


def cling(number: int) -> None:
    """Never end, whoever asks for it."""
    note("began", number)
    while True:
        try:
            time.sleep(0.02)
        except SystemExit:
            note("cut", number)


def nap(number: int, seconds: float, pause: float = 0.02) -> int:
    """Wait for so long, whatever a soft limit says; without a pause, compute."""
    note("began", number)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            if pause:
                time.sleep(pause)
        except SoftTimeLimitExceeded:
            note("soft", number)
    note("done", number)
    return number


def spin(number: int) -> int:
    """Like `wait`, busy all the time."""
    note("began", number)
    while not my_plan().gate(WORKER).exists():
        sum(range(10_000))
    note("done", number)
    return number


def die(number: int, times: int) -> int:
    """Kill the own process the first `times` times."""
    note("began", number)
    if sum(line.split()[:2] == ["began", str(number)] for line in my_plan().ledger.read_text().splitlines()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    note("done", number)
    return number


def again(task: Any, number: int) -> int:
    """Succeed at the third attempt."""
    note("began", number)
    if task.request.retries < 2:
        raise task.retry(countdown=0.1)
    note("done", number)
    return number


def pay(number: int) -> str:
    """Return something that no other run returns."""
    note("began", number)
    note("done", number)
    return uuid4().hex


def pay_slowly(number: int) -> str:
    """The same, when the gate of this worker opens."""
    wait(number)
    return f"by {WORKER}"


class Called(Task):
    """Notes that it was called, as a base class of an application may."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Called for each run."""
        note("called", args[0])
        return super().__call__(*args, **kwargs)


class Deadly(Task):
    """Kills its worker after the first run is complete, before anything is acknowledged."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called when the result is stored."""
        if "died" not in my_plan().ledger.read_text():
            note("died", args[0])
            os.killpg(0, signal.SIGKILL)


def total(numbers: list[int]) -> int:
    """The body of a chord."""
    return sum(numbers)


def sum_of(app: Celery, numbers: range) -> Any:
    """A chord that records every number and adds them up."""
    return chord(app.signature("record", (number,), app=app) for number in numbers)(app.signature("total", app=app))


#: The main process of the worker: this module is imported before the pool forks.
WORKER = os.getpid()

worker_app: Celery | None = None
if PLAN in os.environ:
    worker_app = make_app(my_plan())
    add_tasks(worker_app)
    signals.worker_ready.connect(lambda **_: note("ready", 0), weak=False)
