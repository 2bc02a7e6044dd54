"""The configuration of Redis."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from infra.config.fields import Section, matching

_DAYS = "mon|tue|wed|thu|fri|sat|sun"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"


class Redis(Section):
    """The Redis cluster.

    Attributes:
        node_type: ElastiCache node type.
        engine_version: Redis 7.0 or 7.1.
        shards: Primaries; the key space is divided among them.
        replicas: Copies of each primary, at least 1 for failover.
        snapshot_days: How long daily snapshots are kept, 0 for none.
        snapshot_window: Time of day of the snapshot, UTC.
        maintenance_window: Time of week of AWS' maintenance, UTC.
        memory_alarm: Percent of a node's memory.
        cpu_alarm: Percent of a node's engine thread.
    """

    node_type: Annotated[str, matching(r"cache\.[a-z0-9]+\.[a-z0-9]+", "a node type such as cache.m7g.large")]
    engine_version: Literal["7.0", "7.1"]
    shards: int = Field(ge=1, le=83)
    replicas: int = Field(ge=1, le=5)
    snapshot_days: int = Field(ge=0, le=35)
    snapshot_window: Annotated[str, matching(f"{_CLOCK}-{_CLOCK}", "a time of day such as 01:00-02:00")]
    maintenance_window: Annotated[
        str, matching(f"({_DAYS}):{_CLOCK}-({_DAYS}):{_CLOCK}", "a time of week such as sun:03:00-sun:04:00")
    ]
    memory_alarm: int = Field(ge=1, le=99)
    cpu_alarm: int = Field(ge=1, le=99)
