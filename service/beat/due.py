"""When an entry is due: pure functions of its schedule, so that every process and every restart finds the same times.

Times are Unix times in milliseconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celery.schedules import schedule as Interval  # noqa: N812  a class that Celery writes small

#: Ticks that are late by at most this many milliseconds are all published; of older ones the latest alone.
CATCH_UP: Final = 120_000
#: What is never due is due then, in the year 2255.
NEVER: Final = 9_000_000_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)
#: How far an hour that the clock repeats can lead Celery astray.
_DAY_HOURS: Final = 24


def moment(milliseconds: int) -> datetime:
    """A time as a datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def step_of(interval: Any) -> int:
    """Milliseconds between two ticks of one of Celery's intervals."""
    return int(interval.run_every / timedelta(milliseconds=1))


def next_due(schedule: Any, after: int) -> int:
    """The first time after `after` at which a schedule is due; `NEVER` if there is none.

    An interval is due at its multiples since 1970, whenever somebody starts to count; what else Celery knows is asked
    for its estimate with its clock held still.

    Args:
        schedule: One of Celery's schedules, a copy that belongs to the caller's thread.
        after: Exclusive.
    """
    if isinstance(schedule, Interval):
        step = step_of(schedule)
        return (after // step + 1) * step
    start = moment(after)
    for hours in range(_DAY_HOURS):
        probe = start + hours * _HOUR
        schedule.nowfun = _Still(probe)
        estimate = schedule.remaining_estimate(probe)
        if estimate is None:
            return NEVER
        due = probe + estimate
        # In the hour that the clock repeats, the estimate can lie behind: such an hour has no further tick.
        if due > start:
            return int((due - _EPOCH) / timedelta(milliseconds=1))
    return NEVER


def ticks(schedule: Any, last: int, now: int) -> list[int]:
    """The times to publish, in order.

    Args:
        schedule: As for `next_due`.
        last: The last time that was published.
        now: The time.

    Returns:
        Every time since `last` if the first of them is late by at most `CATCH_UP`, else the latest one alone.
    """
    first = next_due(schedule, last)
    if first > now:
        return []
    if now - first > CATCH_UP:
        return [_latest(schedule, first, now)]
    found = [first]
    while (following := next_due(schedule, found[-1])) <= now:
        found.append(following)
    return found


def _latest(schedule: Any, first: int, now: int) -> int:
    """The last time up to now; `first` is one. Looked for from the end, there may be many."""
    latest, back = first, 60_000
    while now - back > first:
        found = next_due(schedule, now - back)
        if found <= now:
            latest = found
            break
        back *= 2
    while (following := next_due(schedule, latest)) <= now:
        latest = following
    return latest


class _Still:
    """A clock that stands still."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self) -> datetime:
        return self._now
