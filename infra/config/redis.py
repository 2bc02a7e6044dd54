"""The configuration of Redis."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from infra.config.fields import Section, matching
from infra.plan.elasticache import (
    DEFAULT_VERSIONS,
    Authentication,
    Durability,
    Engine,
    check_durability,
    check_maintenance,
    check_node_type,
    check_snapshot,
    check_version,
    overlap,
)

_DAYS = "mon|tue|wed|thu|fri|sat|sun"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"

NodeType = Annotated[
    str,
    matching(r"cache\.[a-z0-9]+\.[a-z0-9]+", "a node type such as cache.m7g.large"),
    AfterValidator(check_node_type),
]
#: Lower case, a letter first, no double or trailing hyphen; automatic snapshots have a prefix with a colon.
Snapshot = Annotated[str, matching(r"(automatic[.:])?[a-z](-?[a-z0-9])*", "the name of a snapshot, in small letters")]


class Cluster(Section):
    """One Redis or Valkey cluster.

    Attributes:
        engine: `redis` or `valkey`.
        engine_version: Major and minor version.
        node_type: ElastiCache node type.
        shards: Primaries; the key space is divided among them.
        replicas: Copies of each primary, at least 1 for failover.
        durability: Whether writes also go to a log in several zones, before (`sync`) or after (`async`) the answer.
        snapshot_days: How long daily snapshots are kept, 0 for none.
        snapshot_window: Time of day of the snapshot, UTC.
        maintenance_window: Time of week of AWS' maintenance, UTC.
        restore_from: Snapshot with which the cluster is made; another one makes it anew.
        memory_alarm: Percent of a node's memory.
        cpu_alarm: Percent of a node's engine thread.
    """

    engine: Engine
    engine_version: str
    node_type: NodeType
    shards: int = Field(ge=1, le=83)
    replicas: int = Field(ge=1, le=5)
    durability: Durability
    snapshot_days: int = Field(ge=0, le=35)
    snapshot_window: Annotated[
        str,
        matching(f"{_CLOCK}-{_CLOCK}", "a time of day such as 01:00-02:00"),
        AfterValidator(check_snapshot),
    ]
    maintenance_window: Annotated[
        str,
        matching(f"({_DAYS}):{_CLOCK}-({_DAYS}):{_CLOCK}", "a time of week such as sun:03:00-sun:04:00"),
        AfterValidator(check_maintenance),
    ]
    restore_from: Snapshot | None
    memory_alarm: int = Field(ge=1, le=99)
    cpu_alarm: int = Field(ge=1, le=99)

    @field_validator("engine_version")
    @classmethod
    def _of_engine(cls, version: str, info: ValidationInfo) -> str:
        return check_version(info.data["engine"], version) if "engine" in info.data else version

    @field_validator("maintenance_window")
    @classmethod
    def _beside_the_snapshot(cls, window: str, info: ValidationInfo) -> str:
        snapshot: str | None = info.data.get("snapshot_window")
        if snapshot is not None and overlap(snapshot, window):
            raise ValueError(f"{window} overlaps with snapshotWindow {snapshot}; move one")
        return window

    @field_validator("durability")
    @classmethod
    def _possible(cls, durability: Durability, info: ValidationInfo) -> Durability:
        known = info.data
        if not {"engine", "engine_version", "node_type"} <= known.keys():
            return durability
        return check_durability(durability, known["engine"], known["engine_version"], known["node_type"])


class Redis(Cluster):
    """The broker's cluster, how clients log in, and the cluster of the results.

    Attributes:
        authentication: By password, or by tokens that IAM vouches for.
        passwords: Numbers of the passwords that are accepted; the services use the last.
        results: A cluster of their own for the results; without it they are kept beside the queues.
    """

    authentication: Authentication
    passwords: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    results: Cluster | None

    @field_validator("passwords")
    @classmethod
    def _two_at_most(cls, passwords: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if len(passwords) > 2:
            raise ValueError(f"{list(passwords)} are {len(passwords)}; ElastiCache takes two of a user, the last two")
        if list(passwords) != sorted(set(passwords)):
            raise ValueError(f"{list(passwords)}: the older number first, each once, such as [1, 2]")
        if info.data.get("authentication") == "iam" and passwords != (1,):
            raise ValueError("authentication iam has no passwords; leave it out")
        return passwords


#: What a cluster of results takes from the broker's unless it says otherwise.
INHERITED: Final = tuple(str(field.alias) for field in Cluster.model_fields.values() if field.alias != "restoreFrom")


def derive(section: dict[str, Any]) -> dict[str, Any]:
    """Return the section `redis` with what follows from the rest: versions, what the results' cluster leaves open."""
    whole = _version(section)
    results = whole.get("results")
    if isinstance(results, dict):
        inherited = {key: whole[key] for key in INHERITED if key in whole}
        if "engine" in results:
            del inherited["engineVersion"]
        whole["results"] = _version({"restoreFrom": None} | inherited | results)
    return whole


def _version(section: dict[str, Any]) -> dict[str, Any]:
    engine: Any = section.get("engine")
    # Of an engine that does not exist the name is the error, not the version that it lacks.
    return {"engineVersion": DEFAULT_VERSIONS["valkey" if engine == "valkey" else "redis"]} | section
