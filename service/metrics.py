"""CloudWatch's view of a queue: a pure translation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from service import fleet

Unit = Literal["Count", "Seconds"]


class Stats(Protocol):
    """What is measured of a queue; the broker's `QueueStats` has it."""

    @property
    def depth(self) -> int:
        """Messages that could run now."""

    @property
    def delayed(self) -> int:
        """Messages that wait for their time."""

    @property
    def leased(self) -> int:
        """Messages that a worker holds."""

    @property
    def dead(self) -> int:
        """Messages on the dead list."""

    @property
    def oldest_age(self) -> float:
        """Seconds that the oldest ready message has waited."""


def metric_data(stack: str, stats: Mapping[str, Stats], now: datetime) -> list[dict[str, Any]]:
    """The `MetricData` of one request: five metrics for each queue.

    Args:
        stack: Value of the first dimension.
        stats: State of each queue that could be read; the others are absent, not zero.
        now: When it was read.
    """
    return [
        {
            "MetricName": name,
            "Dimensions": [
                {"Name": fleet.DIMENSION_STACK, "Value": stack},
                {"Name": fleet.DIMENSION_QUEUE, "Value": queue},
            ],
            "Timestamp": now,
            "Value": value,
            "Unit": unit,
            # High resolution: an alarm with a period of 10 s sees every publication.
            "StorageResolution": 1,
        }
        for queue, state in stats.items()
        for name, value, unit in _values(state)
    ]


def _values(state: Stats) -> tuple[tuple[str, float, Unit], ...]:
    return (
        (fleet.METRIC_DEPTH, float(state.depth), "Count"),
        (fleet.METRIC_DELAYED, float(state.delayed), "Count"),
        (fleet.METRIC_LEASED, float(state.leased), "Count"),
        (fleet.METRIC_DEAD, float(state.dead), "Count"),
        (fleet.METRIC_OLDEST_AGE, float(state.oldest_age), "Seconds"),
    )
