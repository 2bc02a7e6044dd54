"""Tasks that end in every way that a person can ask about."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.exceptions import Reject


@shared_task
def succeed(number: int) -> int:
    return number * 2


@shared_task
def fail(secret: str) -> None:
    local = f"local {secret}"
    raise ValueError(f"cannot, after {len(local)} letters")


@shared_task(bind=True, max_retries=3)
def retry_once(self: Any, countdown: float) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=countdown)
    return "at last"


@shared_task(autoretry_for=(ConnectionError,), default_retry_delay=0, max_retries=1)
def exhaust() -> None:
    raise ConnectionError("never")


@shared_task
def reject() -> None:
    raise Reject("no", requeue=False)


@shared_task(once=True)  # type: ignore[call-overload, untyped-decorator] # unknown to the stubs
def complete() -> str:
    return "done"


@shared_task(ignore_result=True)
def forget() -> None:
    """Leave no trace."""


@shared_task
def hold(directory: str) -> None:
    Path(directory, "held").touch()
    while not Path(directory, "let-go").exists():
        time.sleep(0.02)
