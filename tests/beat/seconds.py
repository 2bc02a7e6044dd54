"""Tasks and a schedule as an application would have them in a task module: cron's way, but by the second."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from celery import current_app, shared_task
from celery.schedules import BaseSchedule

#: Seconds of a minute in which `by_second` is due.
SECONDS = (0, 2, 3, 7, 11, 12, 18, 23, 25, 29, 33, 34, 40, 41, 47, 52, 58)


@shared_task(ignore_result=True)
def tick() -> None:
    """Do nothing."""


class BySecond(BaseSchedule):
    """Due in some seconds of each minute."""

    def __init__(self, seconds: Collection[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = frozenset(seconds)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Time until the next such second after the last run, as seen from now."""
        due = last_run_at.replace(microsecond=0) + timedelta(seconds=1)
        while due.second not in self.seconds:
            due += timedelta(seconds=1)
        return due - self.now()


current_app.conf.beat_schedule["by_second"] = {"task": f"{__name__}.tick", "schedule": BySecond(SECONDS)}
