"""The benchmark's error."""

from __future__ import annotations


class BenchError(Exception):
    """A measure could not be taken; the message says why."""
