"""What this process met: counters for metrics and tools, and log lines that do not repeat themselves."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .cluster import Cluster
    from .keys import QueueKeys

#: Seconds between two lines about the same thing.
PERIOD = 10.0
#: Queues that a summary remembers at most.
REMEMBERED = 200


@dataclass(frozen=True)
class TransportStats:
    """What this process met on all its clusters since it started, or was forked.

    Attributes:
        topology_refreshes: Readings of the topology.
        topology_changes: Those that found slots at another primary.
        moved: Requests that were redirected because the slot had moved (MOVED).
        asked: Requests that were redirected because the slot was moving (ASK).
        connections: Connections made.
        connections_lost: Connections that broke, could not be made or did not answer in time.
        shards_lost: Shards that stopped serving us, each time it happened.
        shards_down: Shards that do not serve us at this moment.
        credentials_refused: Shards that refused our credentials, each time it began.
        renewals_failed: Requests to prolong leases that failed and were tried again.
        leases_lost: Leases that ended while we held them: another worker may run the task too.
        taken_again: Messages taken that a holder had lost or requeued before.
        buried: Messages that this process moved to a dead list.
        publishes_repeated: Publishes that an earlier attempt had stored already, as far as the reply tells: in an
            inbox they are recognised later.
        publishes_unknown: Publishes that failed with their outcome unknown.
        fanout_clamped: Broadcast streams whose new primary knew less than we had read.
    """

    topology_refreshes: int = 0
    topology_changes: int = 0
    moved: int = 0
    asked: int = 0
    connections: int = 0
    connections_lost: int = 0
    shards_lost: int = 0
    shards_down: int = 0
    credentials_refused: int = 0
    renewals_failed: int = 0
    leases_lost: int = 0
    taken_again: int = 0
    buried: int = 0
    publishes_repeated: int = 0
    publishes_unknown: int = 0
    fanout_clamped: int = 0


Event = Literal[
    "topology_refreshes",
    "topology_changes",
    "moved",
    "asked",
    "connections",
    "connections_lost",
    "shards_lost",
    "shards_down",
    "credentials_refused",
    "renewals_failed",
    "leases_lost",
    "taken_again",
    "buried",
    "publishes_repeated",
    "publishes_unknown",
    "fanout_clamped",
]

_counts: dict[str, int] = {field.name: 0 for field in fields(TransportStats)}


def count(event: Event, number: int = 1) -> None:
    """Count an event. Without a lock: two threads at the same instant may count as one."""
    _counts[event] += number


def transport_stats() -> TransportStats:
    """The counters of this process; costs no I/O."""
    return TransportStats(**_counts)


def place(queue: QueueKeys, cluster: Cluster) -> str:
    """A queue part and the node that serves it, for a log line."""
    part = f" (part {queue.part})" if queue.part else ""
    return f"{queue.queue}{part} on {cluster.where(queue.meta)}"


class Summary:
    """A line about what may happen to a queue again and again: at once, then at most every `PERIOD` seconds.

    Each line says how often it happened since the last one. What is left over is said by `tell`.
    """

    def __init__(self, logger: logging.Logger, level: int, text: str) -> None:
        """Take the line's text, with places for the queue (%s), how often (%d), and the last one (%s)."""
        self._logger, self._level, self._text = logger, level, text
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, tuple[int, str]] = {}
        _summaries.append(self)

    def add(self, where: str, last: str) -> None:
        """It happened once more, at `where`; `last` identifies it."""
        self._untold[where] = (self._untold.get(where, (0, ""))[0] + 1, last)
        self.tell()

    def tell(self) -> None:
        """Say what was not said yet, where the last line is old enough."""
        if not self._untold:
            return
        now = time.monotonic()
        if len(self._told_at) > REMEMBERED:
            self._told_at = {where: at for where, at in list(self._told_at.items()) if now - at < PERIOD}
        for where in list(self._untold):
            if now - self._told_at.get(where, -PERIOD) >= PERIOD:
                self._told_at[where] = now
                number, last = self._untold.pop(where, (0, ""))
                if number:
                    self._logger.log(self._level, self._text, where, number, last)


_summaries: list[Summary] = []


def tell_summaries() -> None:
    """Say what is left over of all summaries; the lease thread calls it."""
    for summary in _summaries:
        summary.tell()


def _after_fork() -> None:
    _counts.update(dict.fromkeys(_counts, 0))


os.register_at_fork(after_in_child=_after_fork)
