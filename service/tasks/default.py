"""The default queue, `celery`: everything that belongs nowhere else."""

from __future__ import annotations

from celery import shared_task

from service.work import texts


@shared_task
def digest_text(text: str) -> texts.Digest:
    """Measure a text: its size and checksum.

    Args:
        text: The text.
    """
    return texts.digest_text(text)
