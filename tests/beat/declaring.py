"""A task module that declares periodic tasks in each way that Celery documents."""

from __future__ import annotations

from typing import Any

from celery import current_app, shared_task
from celery.schedules import crontab


@shared_task(ignore_result=True, queue="data_queue")
def count(number: int) -> int:
    """Return a number."""
    return number


current_app.conf.beat_schedule["in_conf"] = {
    "task": count.name,
    "schedule": crontab(minute="5"),
    "args": (1,),
    "options": {"queue": "sync_queue", "expires": 30},
}
current_app.add_periodic_task(10.0, count.s(2), name="added")


@current_app.on_after_configure.connect
def when_configured(sender: Any, **_: object) -> None:
    """Celery's documentation does it so."""
    sender.add_periodic_task(20.0, count.s(3), name="when_configured")


@current_app.on_after_finalize.connect
def when_finalized(sender: Any, **_: object) -> None:
    """And so."""
    sender.add_periodic_task(30.0, count.s(4))
