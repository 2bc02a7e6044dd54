"""The rows of the table: what each is called, and what was aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.stats import Spread, ratios

#: Figures of one row by side.
Figures = Mapping[str, Sequence[float]]

#: Seconds of a lease, and milliseconds of the node timeout, where deaths are measured.
LEASE, NODE_TIMEOUT_MS = 10, 2000

STOCK, KEPT, OURS, TLS = "stock", "kept", "ours", "tls"


@dataclass(frozen=True)
class Target:
    """What a row should reach.

    Attributes:
        text: As people read it.
        ratio: Ours divided by stock, at least or at most, by the row's direction.
        more: So much above stock at most.
        limit: Ours at most, in the row's unit, in the worst case.
    """

    text: str
    ratio: float | None = None
    more: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Row:
    """One measure.

    Attributes:
        key: In results and for ONLY.
        title: With the unit.
        better: Whether more or less of it is good.
        target: What was aimed at, if anything.
        digits: After the point.
    """

    key: str
    title: str
    better: Literal["more", "less"]
    target: Target | None = None
    digits: int = 0

    def spread(self, figures: Figures, against: str = STOCK) -> Spread | None:
        """Ratio of ours to another side, round by round; None if one of them was not measured."""
        if not figures.get(OURS) or not figures.get(against):
            return None
        return ratios(figures[OURS], figures[against])

    def reached(self, figures: Figures) -> bool | None:
        """Whether ours is where it should be against stock; None without a target or a figure."""
        if self.target is None or not figures.get(OURS):
            return None
        if self.target.limit is not None:
            return max(figures[OURS]) <= self.target.limit
        if self.target.more is not None:
            stock = figures.get(STOCK)
            return max(figures[OURS]) <= max(stock) + self.target.more if stock else None
        return self._within(self.spread(figures), self.target.ratio)

    def beats_kept(self, figures: Figures) -> bool | None:
        """Whether ours is no worse than stock with a kept client; None without a target, or without a figure."""
        return self._within(self.spread(figures, KEPT), 1.0) if self.target else None

    def _within(self, spread: Spread | None, bound: float | None) -> bool | None:
        if spread is None or bound is None:
            return None
        # To two digits, as the table shows it.
        median = round(spread.median, 2)
        return median >= bound if self.better == "more" else median <= bound


def _at_least(ratio: float) -> Target:
    return Target(f"≥ {ratio:g}x", ratio=ratio)


_NO_WORSE = Target("≤ 1.0x", ratio=1.0)
_NODE_TIMEOUT = NODE_TIMEOUT_MS // 1000

ROWS = (
    Row("publish", "publish, messages/s", "more", _at_least(2)),
    Row("consume-1", "consume and ack, prefetch 1, messages/s", "more", _at_least(2.5)),
    Row("consume-10", "consume and ack, prefetch 10, messages/s", "more", _at_least(6)),
    Row("consume-100", "consume and ack, prefetch 100, messages/s", "more", _at_least(6)),
    Row("tasks", "Celery no-op tasks/s, prefork 2", "more", _at_least(1.4)),
    Row("tasks-results", "the same with results", "more", _at_least(1.3)),
    Row("latency-p50", "one task on an idle worker, p50, ms", "less", _NO_WORSE, 2),
    Row("latency-p99", "one task on an idle worker, p99, ms", "less", _NO_WORSE, 2),
    Row("commands", "commands that clients send per task, full queue", "less", Target("≤ 3", limit=3), 2),
    Row("commands-single", "the same, one task at a time", "less", None, 2),
    Row("commands-idle", "commands/s of an idle worker with one queue", "less", Target("≤ 0.5", limit=0.5), 2),
    Row("commands-heartbeat", "beside these, for its heartbeats (with gossip)", "less", None, 2),
    Row("connections", "connections of a worker, prefork 2", "less", Target("≤ stock + 1", more=1)),
    Row("connections-process", "connections of one more pool process", "less", None, 1),
    Row("bytes", "bytes per queued Celery message, 100,000 queued", "less", _NO_WORSE),
    Row("bytes-1k", "the same with 1 kB of arguments, 20,000 queued", "less"),
    Row("bytes-result", "bytes per result (of None), 20,000 stored", "less"),
    Row("cpu", "Redis CPU per message, prefetch 1, µs", "less"),
    Row("cpu-result", "Redis CPU per stored result, µs", "less"),
    Row(
        "worker-death",
        f"seconds until a killed worker's task runs again, lease {LEASE} s",
        "less",
        Target(f"≤ {LEASE} + 5", limit=LEASE + 5),
        1,
    ),
    Row(
        "primary-death",
        f"seconds until a killed primary's queue flows again, node timeout {_NODE_TIMEOUT} s",
        "less",
        Target(f"≤ {_NODE_TIMEOUT} + 5", limit=_NODE_TIMEOUT + 5),
        1,
    ),
)

#: What options cost: measured for ours alone, with and without.
OPTION_ROWS = (
    Row("option-publish", "publish, messages/s", "more"),
    Row("option-consume", "consume and ack, prefetch 10, messages/s", "more"),
)
OPTIONS = {
    "durable": "durable_replicas: 1",
    "split": "one queue in 3 partitions, one process",
    TLS: "TLS",
}
