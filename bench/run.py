"""The rounds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection

from bench import raw
from bench.errors import BenchError
from bench.groups import Group, Measured, select
from bench.pinning import CLIENTS, on_core
from bench.results import Results, begin
from bench.rows import STOCK
from bench.sides import Side, Sides

#: How often an unsteady round is repeated before it counts all the same.
REPEATS = 1


def run(rounds: int, only: Collection[str]) -> tuple[Results, list[str]]:
    """Measure, and say on standard error what is at work.

    Args:
        rounds: How many.
        only: Names of groups or rows; none means all.

    Returns:
        The figures, and a sentence for each group that could not be measured.

    Raises:
        UnknownGroupError: There is no such name.
    """
    groups, failed = select(only), list[str]()
    with Sides() as sides, on_core(CLIENTS):
        results = begin(rounds, sides[STOCK].primaries[0])
        for group in groups:
            started = time.monotonic()
            try:
                for _ in range(min(rounds, group.rounds)):
                    _round(group, sides, results)
            except BenchError as error:
                failed.append(f"{group.name} could not be measured: {error}")
                for side in group.sides:
                    sides[side].clear()
            print(f"{group.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return results, failed


def _round(group: Group, sides: Sides, results: Results) -> None:
    """One round of a group: all its sides in turn, and all again if the machine changed meanwhile."""
    members = [sides[name] for name in group.sides]
    measured, is_steady = _attempt(group, members, sides[STOCK])
    for _ in range(REPEATS):
        if is_steady:
            break
        measured, is_steady = _attempt(group, members, sides[STOCK])
    if not is_steady:
        results.unsteady[group.name] = results.unsteady.get(group.name, 0) + 1
    for side, figures in measured.items():
        for row, values in figures.items():
            results.add(row, side, values)


def _attempt(group: Group, members: list[Side], stock: Side) -> tuple[dict[str, Measured], bool]:
    if not group.speed:
        return {side.name: group.measure(side) for side in members}, True
    loop = _loop(stock)
    before = loop()
    measured = {side.name: group.measure(side) for side in members}
    return measured, raw.steady(before, loop())


def _loop(stock: Side) -> Callable[[], float]:
    address = stock.primaries[0].connection_pool.connection_kwargs
    return lambda: raw.rate(address["host"], address["port"])
