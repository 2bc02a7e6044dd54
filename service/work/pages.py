"""Fetching pages over HTTP, with every wait and every size bounded."""

from __future__ import annotations

import hashlib
from typing import TypedDict

import requests

#: Seconds to connect, and seconds between two packets.
TIMEOUT = (5, 30)
MAX_BYTES = 20 * 1024 * 1024


class Page(TypedDict):
    """What was fetched."""

    url: str
    status: int
    bytes: int
    sha256: str


class PageTooLargeError(Exception):
    """A page has more than `MAX_BYTES`."""


def fetch_page(url: str) -> Page:
    """Fetch a page and digest its body as it comes, so that its size does not cost memory.

    Args:
        url: An `http` or `https` address; redirects are followed.

    Raises:
        requests.RequestException: It could not be fetched. An error status is not an error here: it is in the result.
        PageTooLargeError: It is too large.
    """
    digest = hashlib.sha256()
    size = 0
    with requests.get(url, timeout=TIMEOUT, stream=True) as response:
        for chunk in response.iter_content(64 * 1024):
            size += len(chunk)
            if size > MAX_BYTES:
                raise PageTooLargeError(f"{url} has more than {MAX_BYTES} bytes")
            digest.update(chunk)
        return {"url": url, "status": response.status_code, "bytes": size, "sha256": digest.hexdigest()}
