"""`workflow_queue`: the joints of chains, groups and chords."""

from __future__ import annotations

from celery import shared_task

from service.work import tokens


@shared_task
def merge_statistics(parts: list[tokens.Statistics]) -> tokens.Statistics:
    """Add up token statistics: the body of a chord.

    Args:
        parts: The results of the chord's tasks.
    """
    return tokens.merge(parts)
