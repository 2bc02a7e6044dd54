"""Tasks that end in every way that Celery knows, for a worker of the fleet."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Task, current_app, shared_task
from celery.exceptions import Ignore, Reject

# A test cannot wait for five leases of a minute.
current_app.conf.broker_transport_options |= {"lease": 2, "delivery_limit": 0, "idle_timeout": 2}


class UnpicklableError(Exception):
    """Loses what was added to it on its way to the main process."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()


@shared_task
def succeed() -> str:
    return "done"


@shared_task(bind=True, autoretry_for=(ConnectionError,), default_retry_delay=0, max_retries=1)
def succeed_later(self: Any) -> int:
    if not self.request.retries:
        raise ConnectionError("not yet")
    return int(self.request.retries)


@shared_task
def fail(secret: str = "") -> None:
    raise ValueError(f"no {secret}")


@shared_task
def fail_unpicklable() -> None:
    raise UnpicklableError(1, 2)


@shared_task(acks_late=False)
def fail_early() -> None:
    raise ValueError("acknowledged before it ran")


@shared_task(ignore_result=True)
def fail_unheard() -> None:
    raise ValueError("nobody wants the result")


@shared_task(autoretry_for=(ConnectionError,), default_retry_delay=0, max_retries=1)
def exhaust() -> None:
    raise ConnectionError("never")


@shared_task(bind=True, default_retry_delay=0, max_retries=1)
def exhaust_by_hand(self: Any, _secret: str = "") -> None:
    self.retry()


@shared_task(autoretry_for=(Exception,), default_retry_delay=0, max_retries=1)
def break_off() -> None:
    raise TypeError("a wrong program")


@shared_task(soft_time_limit=1)
def outlast_soft() -> None:
    time.sleep(30)


@shared_task(time_limit=1)
def outlast_hard() -> None:
    time.sleep(30)


@shared_task
def outlast_the_callers_limit() -> None:
    time.sleep(30)


class OwnBase(Task[Any, Any]):
    """As an application may have it that came from stock Celery."""

    abstract = True


@shared_task(base=OwnBase)
def fail_with_own_base() -> None:
    raise ValueError("from a base of its own")


@shared_task(bind=True, autoretry_for=(ConnectionError,), default_retry_delay=0, max_retries=1)
def retry_at_gate(self: Any, directory: str) -> str:
    if Path(directory, "open").exists():
        return f"in retry {self.request.retries}"
    Path(directory, "began").touch()
    while not Path(directory, "gate").exists():
        time.sleep(0.02)
    raise ConnectionError("the other side is away")


@shared_task
def reject() -> None:
    raise Reject("not mine", requeue=False)


@shared_task
def requeue() -> None:
    raise Reject("somebody else", requeue=True)


@shared_task
def ignore() -> None:
    raise Ignore


@shared_task
def lose_child() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def lose_child_before_it_counts(log: str, value: int) -> int:
    """The result is stored, and the chord is not told."""
    with Path(log).open("a") as file:
        file.write("ran\n")
    current_app.backend.on_chord_part_return = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    return value


@shared_task(reject_on_worker_lost=False)
def lose_child_for_good() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def leave() -> None:
    raise SystemExit(3)


@shared_task
def run_out_of_memory() -> None:
    raise MemoryError("no more")


@shared_task
def outlast(mark: str) -> None:
    Path(mark).touch()
    time.sleep(600)


@shared_task(acks_late=False)
def outlast_early(mark: str) -> None:
    outlast(mark)


@shared_task(result_expires=600)  # type: ignore[call-overload, untyped-decorator] # an option of the fleet's tasks
def expire_soon() -> str:
    return "soon forgotten"


@shared_task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task
def number(value: int) -> int:
    if value < 0:
        raise ValueError(value)
    return value


@shared_task(ignore_result=True)
def fail_at_gate(directory: str) -> None:
    Path(directory, "began").touch()
    while not Path(directory, "gate").exists():
        time.sleep(0.02)
    raise ValueError("the gate is open")
