"""Which function measures which rows, on which sides, and how often."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from bench.commands import commands
from bench.cost import cost
from bench.footprint import connections, memory
from bench.recovery import primary_death, worker_death
from bench.rows import KEPT, OPTIONS, OURS, STOCK, TLS
from bench.sides import Side
from bench.tasks import tasks
from bench.throughput import consume, publish

#: Figures by row; more than one if a call measures something several times.
Measured = dict[str, list[float]]


@dataclass(frozen=True)
class Group:
    """Rows that are measured together.

    Attributes:
        name: For ONLY.
        rows: Their keys.
        measure: Takes the figures of one side.
        sides: Measured in turn in each round.
        rounds: At most so many: counts and waits do not scatter as speeds do.
        speed: Whether the machine's unsteadiness matters.
    """

    name: str
    rows: tuple[str, ...]
    measure: Callable[[Side], Measured]
    sides: tuple[str, ...] = (STOCK, KEPT, OURS)
    rounds: int = 100
    speed: bool = True


def _one(row: str, measure: Callable[[Side], float]) -> Callable[[Side], Measured]:
    return lambda side: {row: [measure(side)]}


def _options(side: Side) -> Measured:
    return {"option-publish": [publish(side)], "option-consume": [consume(side, 10)]}


GROUPS = (
    Group("publish", ("publish",), _one("publish", publish)),
    *(
        Group(f"consume-{credit}", (f"consume-{credit}",), _one(f"consume-{credit}", partial(consume, prefetch=credit)))
        for credit in (1, 10, 100)
    ),
    Group("tasks", ("tasks", "tasks-results", "latency-p50", "latency-p99"), tasks),
    Group("cpu", ("cpu", "cpu-result"), cost, (STOCK, OURS, TLS), 3),
    Group("options", ("option-publish", "option-consume"), _options, (OURS, *OPTIONS), 3),
    Group(
        "commands",
        ("commands", "commands-single", "commands-idle", "commands-heartbeat"),
        commands,
        rounds=1,
        speed=False,
    ),
    Group("connections", ("connections", "connections-process"), connections, rounds=1, speed=False),
    Group("memory", ("bytes", "bytes-1k", "bytes-result"), memory, rounds=1, speed=False),
    Group("worker-death", ("worker-death",), worker_death, (OURS,), 1, speed=False),
    Group("primary-death", ("primary-death",), primary_death, (OURS,), 3, speed=False),
)


class UnknownGroupError(ValueError):
    """There is no such group or row."""


def select(names: Collection[str]) -> list[Group]:
    """The groups of these names or with these rows; all of them for no name.

    Raises:
        UnknownGroupError: A name is neither; it names those that are.
    """
    known = {name for group in GROUPS for name in (group.name, *group.rows)}
    unknown = sorted(set(names) - known)
    if unknown:
        raise UnknownGroupError(f"there is no measure {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return [group for group in GROUPS if not names or {group.name, *group.rows} & set(names)]
