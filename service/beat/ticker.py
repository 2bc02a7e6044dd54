"""The ticks of one queue: a thread of its own, so that a shard that is away stops only its own queues."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from kombu.exceptions import OperationalError
from redis import exceptions

from service.beat.due import next_due, ticks
from service.beat.entries import Entry
from service.beat.leader import NotLeadingError, Term
from service.rediscluster.errors import is_retryable

_LOG = logging.getLogger(__name__)

#: Seconds after which the queue is asked again what was published to it: a failover may have undone some of it.
AUDIT: Final = 5.0
#: Seconds between attempts at an entry that cannot be published, doubled each time.
FIRST_PAUSE: Final = 0.5
LAST_PAUSE: Final = 30.0


class Lanes(Protocol):
    """Where the queues remember what was published to them; `KeptLanes` does it."""

    def last(self, queue: str, lane: str) -> int | None:
        """The last number."""

    def advance(self, queue: str, lane: str, number: int) -> int:
        """Go on from a number, or a higher one."""


class Leadership(Protocol):
    """Whether we lead, and what time it is; `Leader` knows."""

    @property
    def term(self) -> Term | None:
        """The term, while we lead."""

    @property
    def stopped(self) -> bool:
        """Whether to end."""

    def now(self) -> int:
        """Unix time in milliseconds."""

    def wait(self, seconds: float) -> None:
        """Wait, at most until who leads changes."""

    def take(self, entries: dict[str, str]) -> None:
        """Note entries as ours."""


class Ticker(threading.Thread):
    """Publishes the ticks of the entries of one queue while this process leads.

    Attributes:
        looped: When it last did anything, on the monotonic clock.
    """

    def __init__(
        self,
        queue: str,
        entries: Sequence[Entry],
        leader: Leadership,
        lanes: Lanes,
        publish: Callable[[Entry, int], None],
    ) -> None:
        """Set up; `start` starts it.

        Args:
            queue: Whose ticks.
            entries: The entries that go to it.
            leader: Whether we lead.
            lanes: What the queues remember.
            publish: Publishes an entry's tick that is due at a time, once; may raise and may be repeated.
        """
        super().__init__(name=f"ticks of {queue}", daemon=True)
        self.looped = time.monotonic()
        self._queue = queue
        self._entries = entries
        self._leader = leader
        self._lanes = lanes
        self._publish = publish
        self._term = 0
        #: The last tick of each entry, by its name; what is not there must be read.
        self._last: dict[str, int] = {}
        self._audit_at = 0.0
        #: Until when an entry is left alone, and for how long the next time.
        self._paused: dict[str, tuple[float, float]] = {}
        #: Since when something that should have been published was not; Unix time in milliseconds.
        self._overdue: int | None = None

    def late(self) -> float:
        """Seconds by which the latest tick is late now."""
        overdue = self._overdue
        return 0.0 if overdue is None else max(0.0, (self._leader.now() - overdue) / 1000)

    def run(self) -> None:
        """Publish what is due until the leadership is stopped."""
        while not self._leader.stopped:
            self.looped = time.monotonic()
            term = self._leader.term
            if term is None:
                self._overdue = None
                self._leader.wait(1.0)
                continue
            try:
                pause = self.round(term)
            except NotLeadingError:
                continue
            except Exception:  # noqa: BLE001  the next round may go well, and the alarm on late ticks tells if not
                _LOG.exception("ticks of %s: a round failed", self._queue)
                pause = FIRST_PAUSE
            self._leader.wait(pause)

    def round(self, term: Term) -> float:
        """Publish what is due now.

        Args:
            term: The term in which we lead.

        Returns:
            Seconds until the next round.

        Raises:
            NotLeadingError: Somebody else leads by now.
        """
        if term.number != self._term:
            self._term = term.number
            self._last, self._paused, self._overdue, self._audit_at = {}, {}, None, 0.0
        unread = self._read(term)
        now = self._leader.now()
        blind = self._overdue or now if unread else None
        due = sorted(
            (tick, index)
            for index, entry in enumerate(self._entries)
            if entry.name in self._last
            for tick in ticks(entry.schedule, self._last[entry.name], now)
        )
        self._overdue = _earliest(blind, *(tick for tick, _ in due[:1]))
        self._overdue = _earliest(blind, *self._publish_all(due))
        return self._until_next() if self._overdue is None else FIRST_PAUSE

    def _until_next(self) -> float:
        upcoming = min(next_due(entry.schedule, self._last[entry.name]) for entry in self._entries)
        until = (upcoming - self._leader.now()) / 1000
        return max(0.0, min(until, self._audit_at - time.monotonic()))

    # -- what the queue remembers -----------------------------------------------------------------------------------

    def _read(self, term: Term) -> bool:
        """Find out the last tick of every entry, now and then again; returns whether some is still unknown."""
        before, audit = dict(self._last), time.monotonic() >= self._audit_at
        if audit:
            self._last, self._audit_at = {}, time.monotonic() + AUDIT
        unread = [entry for entry in self._entries if entry.name not in self._last]
        try:
            for entry in unread:
                self._last[entry.name] = self._begin(entry, term, entry.name in before)
        except (exceptions.RedisError, OSError) as error:
            _LOG.warning("queue %s does not tell its ticks: %s", self._queue, error)
            # Until the queue can be asked, what we know ourselves must do.
            self._last = before | self._last
            return any(entry.name not in self._last for entry in self._entries)
        for entry in self._entries:
            if self._last[entry.name] < before.get(entry.name, 0):
                _LOG.warning("ticks of %s were undone by a failover of queue %s's shard", entry.name, self._queue)
        return False

    def _begin(self, entry: Entry, term: Term, known: bool) -> int:
        """The tick from which an entry goes on."""
        queue = entry.queue if known or term.taken is None else term.taken.get(entry.name)
        if queue is None:
            # New: it begins now, and not when a queue may last have heard of an entry of this name.
            last = self._lanes.advance(entry.queue, entry.lane, self._leader.now())
        else:
            # Of another queue if a deployment moved it.
            found = self._lanes.last(queue, entry.lane)
            last = self._leader.now() if found is None else found
            if queue != entry.queue or found is None:
                last = self._lanes.advance(entry.queue, entry.lane, last)
        if not known:
            # Before its first tick: whoever leads next must not take it for new.
            self._leader.take({entry.name: entry.queue})
        return last

    # -- publishing -------------------------------------------------------------------------------------------------

    def _publish_all(self, due: Sequence[tuple[int, int]]) -> list[int]:
        """Publish in order; returns the times of ticks that are left."""
        left: list[int] = []
        stuck: set[int] = set()
        for place, (tick, index) in enumerate(due):
            if self._leader.term is None or self._leader.stopped:
                raise NotLeadingError
            entry = self._entries[index]
            until, pause = self._paused.get(entry.name, (0.0, FIRST_PAUSE))
            if index in stuck or time.monotonic() < until:
                left.append(tick)
                continue
            self.looped = time.monotonic()
            try:
                if self._undone(entry):
                    # This tick would hide it: the queue takes none that is earlier.
                    self._audit_at = 0.0
                    return [*left, *(tick for tick, _ in due[place:])]
                self._publish(entry, tick)
            except Exception as error:  # noqa: BLE001  one entry's mistake must not stop the others
                if _away(error):
                    _LOG.warning("queue %s takes no ticks, %d are due: %s", self._queue, len(due) - place, error)
                    return [*left, *(tick for tick, _ in due[place:])]
                _LOG.exception("tick of %s could not be published, next attempt in %.1f s", entry.name, pause)
                self._paused[entry.name] = (time.monotonic() + pause, min(2 * pause, LAST_PAUSE))
                stuck.add(index)
                left.append(tick)
            else:
                self._paused.pop(entry.name, None)
                self._last[entry.name] = tick
                _LOG.info("tick of %s to %s", entry.name, self._queue, extra={"task_name": entry.celery.task})
        return left

    def _undone(self, entry: Entry) -> bool:
        """Whether the queue has lost the last tick that it took from us."""
        found = self._lanes.last(entry.queue, entry.lane)
        # One that knows none was emptied: asked, it would begin now, without the tick that is due.
        return found is not None and found < self._last[entry.name]


def _earliest(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _away(error: Exception) -> bool:
    """Whether nothing can be published to the queue now, whatever the entry."""
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, (OperationalError, exceptions.OutOfMemoryError)):
        return True
    return isinstance(cause, Exception) and is_retryable(cause)
