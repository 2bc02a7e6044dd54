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


class BeatWatch:
    """Reads how the leader is."""

    def __init__(self, read: Callable[[], Standing | None]) -> None:
        """`read` tells; it may raise `redis.exceptions.RedisError` or `OSError`."""
        self._read = read
        self._known: tuple[float, Standing] | None = None

    def data(self, stack: str, now: datetime) -> list[dict[str, Any]]:
        """`MetricData` about the beat: none on a stack where none has led for a day.

        Args:
            stack: Value of the dimension.
            now: When it is read.
        """
        try:
            standing = self._read()
        except (exceptions.RedisError, OSError) as error:
            _LOG.warning("the beat could not be read: %s", error)
        else:
            self._known = None if standing is None else (time.monotonic(), standing)
        if self._known is None:
            return []
        # If the shard does not answer, no beat can lead for long either: its silence goes on.
        read_at, standing = self._known
        age = standing.age + time.monotonic() - read_at
        return [
            {
                "MetricName": name,
                "Dimensions": [{"Name": fleet.DIMENSION_STACK, "Value": stack}],
                "Timestamp": now,
                "Value": value,
                "Unit": "Seconds",
                "StorageResolution": 1,
            }
            for name, value in ((fleet.METRIC_BEAT_AGE, age), (fleet.METRIC_SCHEDULE_LATE, standing.late))
        ]
