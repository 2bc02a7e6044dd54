"""CloudWatch's view of a queue: a pure translation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

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

    @property
    def acked(self) -> int:
        """Messages whose work was done, since the queue was made."""

    @property
    def recovered(self) -> int:
        """Messages that came back because their lease had ended, since the queue was made."""

    @property
    def buried(self) -> int:
        """Messages moved to the dead list, since the queue was made."""


def metric_data(
    stack: str, stats: Mapping[str, Stats], now: datetime, before: Mapping[str, Stats] | None = None
) -> list[dict[str, Any]]:
    """The `MetricData` of one request: five metrics for each queue, and what happened since the last reading.

    Args:
        stack: Value of the first dimension.
        stats: State of each queue that could be read; the others are absent, not zero.
        now: When it was read.
        before: State of each queue at its last reading.
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
        for name, value, unit in _values(state, (before or {}).get(queue))
    ]


class Since(NamedTuple):
    """What happened between two readings."""

    done: int
    recovered: int
    buried: int


def since(state: Stats, before: Stats) -> Since:
    """How many messages were done, recovered and buried between two readings; 0 for a queue that was made anew."""
    return Since(
        max(0, state.acked - before.acked),
        max(0, state.recovered - before.recovered),
        max(0, state.buried - before.buried),
    )


def _values(state: Stats, before: Stats | None) -> list[tuple[str, float, Unit]]:
    values: list[tuple[str, float, Unit]] = [
        (fleet.METRIC_DEPTH, float(state.depth), "Count"),
        (fleet.METRIC_DELAYED, float(state.delayed), "Count"),
        (fleet.METRIC_LEASED, float(state.leased), "Count"),
        (fleet.METRIC_DEAD, float(state.dead), "Count"),
        (fleet.METRIC_OLDEST_AGE, float(state.oldest_age), "Seconds"),
    ]
    if before is not None:
        happened = since(state, before)
        values += [
            (fleet.METRIC_RECOVERED, float(happened.recovered), "Count"),
            (fleet.METRIC_DONE, float(happened.done), "Count"),
            (fleet.METRIC_FAILED, float(happened.buried), "Count"),
        ]
    return values
