"""`sync_queue`: I/O-bound synchronisation."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from celery import shared_task

from service.breaker import guarded
from service.work import pages

#: What says that the other side is in trouble; a page with an error status is an answer.
UNREACHABLE = (requests.ConnectionError, requests.Timeout)


@shared_task
def fetch_page(url: str) -> pages.Page:
    """Fetch a page; its status, size and checksum are the result.

    Each host has a breaker of its own: while it does not answer, its pages wait without being asked for.

    Args:
        url: An `http` or `https` address.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    return guarded(host, UNREACHABLE, pages.fetch_page, url)
