"""What ElastiCache offers: engines and their versions, durability, node types. From AWS's user guide, autumn 2026."""

from __future__ import annotations

from typing import Final, Literal

Engine = Literal["redis", "valkey"]
Authentication = Literal["password", "iam"]
Durability = Literal["none", "async", "sync"]

#: Versions that have sharded publish/subscribe, which results need; AWS adds patches itself.
VERSIONS: Final[dict[Engine, tuple[str, ...]]] = {
    "redis": ("7.0", "7.1"),
    "valkey": ("7.2", "8.0", "8.1", "8.2", "9.0", "9.1"),
}
DEFAULT_VERSIONS: Final[dict[Engine, str]] = {"redis": "7.1", "valkey": "9.0"}

#: Families whose nodes can write a durable log ("Durability: Limitations").
DURABLE_FAMILIES: Final = ("r8g", "r7g", "r6g", "m8g", "m7g", "m6g", "c8gn", "c7gn")
#: Families that cannot be created any more (CreateReplicationGroup, "previous generation").
GONE_FAMILIES: Final = ("t1", "m1", "m2", "m3", "c1", "r3")
#: Connections a node accepts, `maxclients`, which cannot be changed ("Redis OSS 2.8.6 parameters"); small ones fewer.
_MAX_CLIENTS: Final = 65_000
_MAX_CLIENTS_SMALL: Final = {
    **dict.fromkeys(
        ("cache.t2.micro", "cache.t2.small", "cache.t2.medium", "cache.t3.micro", "cache.t4g.micro"), 20_000
    ),
    **dict.fromkeys(("cache.t3.small", "cache.t3.medium"), 46_000),
}
#: Minutes that a window of maintenance or snapshots has at least.
MIN_WINDOW: Final = 60

_DAY: Final = 24 * 60
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def check_version(engine: Engine, version: str) -> str:
    """Return `version` if the engine has it.

    Raises:
        ValueError: Names those that it has.
    """
    if version not in VERSIONS[engine]:
        raise ValueError(f"{version!r} is no version of {engine}; valid: {', '.join(VERSIONS[engine])}")
    return version


def check_node_type(node_type: str) -> str:
    """Return `node_type` if a queue can live on it.

    Raises:
        ValueError: Says why not.
    """
    kind = _family(node_type)
    if kind in GONE_FAMILIES:
        raise ValueError(f"{node_type} cannot be created any more; take cache.m7g.large or cache.t4g.small")
    if kind.endswith("gd"):
        raise ValueError(
            f"{node_type} moves what waits long to disk, which is queued work; take {_undisked(node_type)}"
        )
    return node_type


def max_clients(node_type: str) -> int:
    """Return how many connections a node accepts."""
    return _MAX_CLIENTS_SMALL.get(node_type, _MAX_CLIENTS)


def check_durability(durability: Durability, engine: Engine, version: str, node_type: str) -> Durability:
    """Return `durability` if engine, version and node type can keep it.

    Raises:
        ValueError: Says what would be right.
    """
    if durability == "none":
        return durability
    if not has_durability(engine, version):
        raise ValueError(f"{durability!r} needs engine valkey from 9.0 on, not {engine} {version}; valid: none")
    if _family(node_type) not in DURABLE_FAMILIES:
        families = ", ".join(DURABLE_FAMILIES)
        raise ValueError(f"{durability!r} does not work on {node_type}; valid: none, or a nodeType of {families}")
    return durability


def has_durability(engine: Engine, version: str) -> bool:
    """Whether clusters of this engine can write a durable log."""
    return engine == "valkey" and int(version.partition(".")[0]) >= 9


def durability_input(durability: Durability, engine: Engine, version: str) -> str | None:
    """Return the provider's word for it; None where the engine knows no durability.

    Stated wherever it can be: left out, AWS decides, for a restored snapshot by what its cluster had.
    """
    if not has_durability(engine, version):
        return None
    return "disabled" if durability == "none" else durability


def parameter_family(engine: Engine, version: str) -> str:
    """Return the family of the parameter group, e.g. `valkey9`."""
    return f"{engine}{version.partition('.')[0]}"


def check_maintenance(window: str) -> str:
    """Return a time of week such as `sun:03:00-sun:04:00` if it is long enough.

    Raises:
        ValueError: It is not.
    """
    start, end = (_minute(moment) for moment in window.split("-"))
    return _long(window, (end - start) % (7 * _DAY))


def check_snapshot(window: str) -> str:
    """Return a time of day such as `01:00-02:00` if it is long enough.

    Raises:
        ValueError: It is not.
    """
    start, end = (_clock(moment) for moment in window.split("-"))
    return _long(window, (end - start) % _DAY)


def overlap(snapshot: str, maintenance: str) -> bool:
    """Whether a time of day and a time of week have a minute in common on any day, which ElastiCache refuses."""
    start, end = (_clock(moment) for moment in snapshot.split("-"))
    opened, closed = (_minute(moment) for moment in maintenance.split("-"))
    lasts, stays = (end - start) % _DAY, (closed - opened) % (7 * _DAY)
    # From either start to the other, on the clock: less than that one lasts.
    return (opened - start) % _DAY < lasts or (start - opened) % _DAY < stays


def _long(window: str, minutes: int) -> str:
    if minutes < MIN_WINDOW:
        raise ValueError(f"{window} has {minutes} minutes; at least {MIN_WINDOW}")
    return window


def _family(node_type: str) -> str:
    return node_type.split(".")[1]


def _undisked(node_type: str) -> str:
    return node_type.replace("gd.", "g.")


def _minute(moment: str) -> int:
    day, _, clock = moment.partition(":")
    return _DAYS.index(day) * _DAY + _clock(clock)


def _clock(moment: str) -> int:
    hour, minute = moment.split(":")
    return int(hour) * 60 + int(minute)
