"""`high_priority_queue`: urgent and short."""

from __future__ import annotations

from celery import shared_task

from service.work import events


@shared_task
def check_event(body: str, expected: str) -> events.Verdict:
    """Check a delivered event's checksum and form.

    Args:
        body: The event as it was received.
        expected: The checksum that came with it.
    """
    return events.check_event(body, expected)
