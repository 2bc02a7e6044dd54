"""What stands in the queues, as plain values for metrics and tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .broker import Broker
from .keys import QueueKeys
from .options import parse


@dataclass(frozen=True)
class QueueStats:
    """A queue at one moment.

    Attributes:
        ready: Messages that can be taken, by priority 0-10.
        delayed: Messages that wait for their time, due ones included.
        due: Delayed ones whose time has come and that nobody has looked at yet.
        leased: Messages that somebody holds.
        dead: Messages on the dead list.
        oldest_age: Seconds since the oldest ready or due message could have been taken; 0 when there is none.
        published: Messages stored, since the queue was made.
        acked: Messages whose work was done.
        redelivered: Returns to the queue, for whatever reason.
        recovered: Those of them that came back because their lease ended.
        buried: Messages moved to the dead list, whether they are still there or not.
    """

    ready: dict[int, int] = field(default_factory=dict)
    delayed: int = 0
    due: int = 0
    leased: int = 0
    dead: int = 0
    oldest_age: float = 0.0
    published: int = 0
    acked: int = 0
    redelivered: int = 0
    recovered: int = 0
    buried: int = 0

    @property
    def depth(self) -> int:
        """Messages that could run now: ready ones and due ones."""
        return sum(self.ready.values()) + self.due


@dataclass(frozen=True)
class PartStats:
    """A part of a queue, and where it is.

    Attributes:
        part: Its number; 0 is the only part of a queue that is not split.
        node: `host:port` of the primary that serves it.
        stats: What is in it.
    """

    part: int
    node: str
    stats: QueueStats


def sum_of(parts: Sequence[QueueStats]) -> QueueStats:
    """The parts of a queue as one."""
    if len(parts) == 1:
        return parts[0]
    names = ("delayed", "due", "leased", "dead", "published", "acked", "redelivered", "recovered", "buried")
    counts: dict[str, int] = {name: sum(getattr(part, name) for part in parts) for name in names}
    ready = {priority: sum(part.ready.get(priority, 0) for part in parts) for priority in range(11)}
    return QueueStats(ready=ready, oldest_age=max(part.oldest_age for part in parts), **counts)


class BrokerInspector:
    """Reads queues without disturbing them."""

    def __init__(self, url: str, transport_options: Mapping[str, Any] | None = None) -> None:
        """Connects on first use.

        Raises:
            ConfigurationError: The URL or an option is wrong.
        """
        self._broker = Broker(parse(url, transport_options))
        self._broker.cluster.purpose = "inspect"

    def stats(self, queue: str) -> QueueStats:
        """Count what is in a queue; all zero when it does not exist.

        Raises:
            ClusterUnavailableError: Its shard did not answer before the deadline.
        """
        return sum_of([self._part(part) for part in self._broker.parts(queue)])

    def parts(self, queue: str) -> list[PartStats]:
        """As `stats`, for each part of the queue by itself."""
        parts = self._broker.parts(queue)
        counted = [(part, self._part(part)) for part in parts]
        return [PartStats(part.part, self._broker.cluster.where(part.meta), stats) for part, stats in counted]

    def _part(self, part: QueueKeys) -> QueueStats:
        exists, delayed, due, leased, dead, now, oldest, counters, ready = self._broker.stats(part)
        if not exists:
            return QueueStats()
        count = {counters[i].decode(): counters[i + 1] for i in range(0, len(counters), 2)}
        return QueueStats(
            ready=dict(enumerate(ready)),
            delayed=delayed,
            due=due,
            leased=leased,
            dead=dead,
            oldest_age=max(0.0, (now - oldest) / 1000) if oldest else 0.0,
            published=count["published"],
            acked=count["acked"],
            redelivered=count["returned"],
            recovered=count["recovered"],
            buried=count["buried"],
        )

    def close(self) -> None:
        """Close the connections."""
        self._broker.cluster.close()
