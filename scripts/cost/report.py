"""The bill for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from scripts.cost import prices
from scripts.cost.bill import Item, total


def lines(stack: str, items: list[Item], vcpus: tuple[float, float]) -> Iterator[str]:
    """A table by component, what Fargate's quota must allow, and what it assumes."""
    yield _row(f"{stack}, USD a month", "fewest tasks", "most tasks")
    yield ""
    for component, group in groupby(sorted(items, key=lambda item: item.component), lambda item: item.component):
        own = list(group)
        yield _row(component, *map(_usd, total(own)))
        for what in dict.fromkeys(item.what for item in own):
            same = [item for item in own if item.what == what]
            number = f"{len(same)} x " if len(same) > 1 else ""
            yield _row(f"  {number}{what}", *map(_usd, total(same)))
    yield ""
    yield _row("total", *map(_usd, total(items)))
    yield ""
    yield _row("vCPU on Fargate; a deployment starts new tasks before old ones end", *(f"{n:g}" for n in vcpus))
    yield ""
    yield "Assumed:"
    yield from (f"- {sentence}" for sentence in ASSUMPTIONS)


ASSUMPTIONS = (
    f"List prices on demand, {prices.READ} (`scripts/cost/prices.py`); other regions differ, Frankfurt is dearer.",
    f"A month has {prices.HOURS} hours; schedules of scaling are not looked at.",
    "Spot counts like on-demand; it is up to 70 % cheaper.",
    (
        "Not counted, since it depends on what happens: log lines, data through NAT, endpoints and between zones, "
        "snapshots, DynamoDB, S3, ECR, SNS, API requests, and Container Insights, which counts by tasks."
    ),
)


def _row(title: str, fewest: str, most: str) -> str:
    return f"{title:<62}{fewest:>14}{most:>14}".rstrip()


def _usd(number: float) -> str:
    return f"{number:,.2f}"
