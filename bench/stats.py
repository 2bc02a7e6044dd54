"""Median and spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Some values in three numbers."""

    median: float
    lowest: float
    highest: float


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], others: Sequence[float]) -> Spread:
    """The spread of the ratios of values that were measured in the same rounds.

    Raises:
        ValueError: The numbers of rounds differ.
    """
    return spread([mine / other for mine, other in zip(ours, others, strict=True)])
