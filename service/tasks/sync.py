"""`sync_queue`: I/O-bound synchronisation."""

from __future__ import annotations

from celery import shared_task

from service.work import pages


@shared_task
def fetch_page(url: str) -> pages.Page:
    """Fetch a page; its status, size and checksum are the result.

    Args:
        url: An `http` or `https` address.
    """
    return pages.fetch_page(url)
