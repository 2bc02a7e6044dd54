"""The beat as CloudWatch sees it; the monitor service publishes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from redis import exceptions

from service import fleet
from service.beat.leader import Standing

_LOG = logging.getLogger(__name__)

#: Seconds that the first beat of a stack may take to lead before it counts as silent.
PATIENCE = 600


class BeatWatch:
    """Reads how the leader is."""

    def __init__(
        self,
        read: Callable[[], Standing | None],
        expected: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read yet.

        Args:
            read: Tells, or returns None if nobody has led for a day; may raise `redis.exceptions.RedisError` or
                `OSError`.
            expected: Whether the stack has a beat.
            clock: Seconds.
        """
        self._read = read
        self._expected = expected
        self._clock = clock
        self._started = clock()
        self._known: tuple[float, Standing] | None = None

    def data(self, stack: str, now: datetime) -> list[dict[str, Any]]:
        """`MetricData` about the beat: none on a stack without one.

        Args:
            stack: Value of the dimension.
            now: When it is read.
        """
        values = self._values()
        return [
            {
                "MetricName": name,
                "Dimensions": [{"Name": fleet.DIMENSION_STACK, "Value": stack}],
                "Timestamp": now,
                "Value": value,
                "Unit": "Seconds",
                "StorageResolution": 1,
            }
            for name, value in values.items()
        ]

    def _values(self) -> dict[str, float]:
        try:
            standing = self._read()
        except (exceptions.RedisError, OSError) as error:
            _LOG.warning("the beat could not be read: %s", error)
        else:
            # What the cluster forgets after a day is remembered here: the silence goes on.
            if standing is not None or not self._expected:
                self._known = None if standing is None else (self._clock(), standing)
        if self._known is None:
            silent = self._clock() - self._started
            return {fleet.METRIC_BEAT_AGE: silent} if self._expected and silent > PATIENCE else {}
        # If the shard does not answer, no beat can lead for long either: its silence goes on, too.
        read_at, standing = self._known
        return {
            fleet.METRIC_BEAT_AGE: standing.age + self._clock() - read_at,
            fleet.METRIC_SCHEDULE_LATE: standing.late,
        }
