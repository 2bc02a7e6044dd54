"""Digests of texts."""

from __future__ import annotations

import hashlib
from typing import TypedDict


class Digest(TypedDict):
    """Size and checksum of a text."""

    characters: int
    words: int
    lines: int
    sha256: str


def digest_text(text: str) -> Digest:
    """Measure a text."""
    return {
        "characters": len(text),
        "words": len(text.split()),
        "lines": len(text.splitlines()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
