"""`dead_letter`: messages that a person must look at."""

from __future__ import annotations

import logging

from celery import shared_task

_LOG = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def record_letter(task_id: str, task_name: str, reason: str) -> None:
    """Put a dead letter on record: one structured line in the log, without the task's arguments.

    Args:
        task_id: The task that was given up.
        task_name: Its name.
        reason: Why.
    """
    _LOG.error("dead letter", extra={"letter": {"id": task_id, "task": task_name, "reason": reason}})
