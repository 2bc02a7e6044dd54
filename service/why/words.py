"""The facts about a task in lines that a person at night understands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from service.rediscluster.find import Sighting
from service.why.facts import LETTERS, RESULTS, Facts

#: What the reasons of dead messages mean; those that are not here speak for themselves.
_REASONS: Final = {
    "delivery-limit": "its workers died with it, or it was requeued, too often",
    "invalid-task": "it is no valid task message",
    "not-a-task": "it is no task",
    "oversized": "its body is above FLEET_MESSAGE_LIMIT",
    "refused": "its serialization is not accepted here: see FLEET_ALLOW_PICKLE and docs/security.md",
    "rejected": "its task rejected it",
    "retries-exhausted": "its last retry failed",
    "undecodable": "its body cannot be read, or its signature does not hold",
    "unknown-task": "for a quarter of an hour no worker knew the task",
    "worker-lost": "its pool process died",
}
_NOT_FOUND: Final = """\
not found: no queue, dead list or result has it. So it
- was never published here: is this the id, and is this the cluster (FLEET_REDIS_HOST)? or
- is done, and stores no result (ignore_result), or its result is gone: they are kept for {kept}, or
- was purged, discarded, or handled as a dead letter."""


def lines(facts: Facts) -> Iterator[str]:
    """What to say, one line each but for a task that was not found."""
    yield f"task {facts.task_id}" + (f" ({facts.name})" if facts.name else "")
    for sighting in facts.search.sightings:
        yield _sighting(sighting, facts.delivery_limit)
    for queue, at in facts.search.completed.items():
        yield f"completed once in {queue} at {_time(at)}: it does not run again however often it is delivered"
    if facts.ended is not None:
        yield from _ended(facts)
    for letter in facts.letters:
        yield (
            f"dead letter {letter.id}, died in {letter.queue} at {_time(letter.died / 1000)}: "
            f"{_reason(letter.reason, letter.exception)}"
        )
    for what, error in facts.unasked.items():
        yield (f"not asked: {what}: {error}" if what in (LETTERS, RESULTS) else f"not asked: queue {what}: {error}")
    if not facts.found:
        yield (
            "not found where it could be looked for"
            if facts.unasked
            else _NOT_FOUND.format(kept=duration(facts.result_expires))
        )


def _sighting(sighting: Sighting, limit: int) -> str:
    queue = sighting.queue + (f" part {sighting.part}" if sighting.part else "")
    told = [_place(sighting, queue)]
    retries = sighting.headers.get("retries")
    if retries:
        told.append(f"retry {retries}")
    if sighting.returns:
        told.append(f"given back {_times(sighting.returns)}")
    if sighting.losses:
        told.append(f"lost or requeued {_times(sighting.losses)}, {limit} are allowed")
    expires = _moment(sighting.headers.get("expires"))
    if expires is not None and sighting.place != "dead":
        past = expires < sighting.seen
        told.append(
            f"expired {_ago(sighting.seen - expires)}, so it will not run" if past else f"expires at {_time(expires)}"
        )
    return "; ".join(told)


def _place(s: Sighting, queue: str) -> str:
    if s.place == "delayed" and s.due is not None:
        wait = f"in {duration(s.due - s.seen)}" if s.due > s.seen else "due, the next look of a worker takes it up"
        return f"delayed in {queue} until {_time(s.due)} ({wait}), priority {s.priority}"
    if s.place == "inflight" and s.until is not None:
        since = f" since {_time(s.since)} ({duration(s.seen - s.since)})" if s.since else ""
        if s.until > s.seen:
            end = f"its lease ends in {duration(s.until - s.seen)} unless it is renewed"
        else:
            end = f"its lease ended {_ago(s.seen - s.until)}: another worker takes over"
        return f"held by {s.holder or 'an unknown worker'}, from {queue}{since}, delivery {s.returns + 1}; {end}"
    if s.place == "dead" and s.died is not None:
        return (
            f"dead in {queue} since {_time(s.died)} ({_ago(s.seen - s.died)}): {_reason(s.reason or '', s.exception)}"
        )
    return (
        f"waiting in {queue}, number {s.position + 1} of {s.size}, priority {s.priority}, "
        f"since {_time(s.ready)} ({duration(s.seen - s.ready)})"
    )


def _ended(facts: Facts) -> Iterator[str]:
    ended = facts.ended
    assert ended is not None  # noqa: S101 - for the type checker
    told = [ended.state]
    moment = _moment(ended.at)
    if moment is not None:
        told.append(f"at {_time(moment)}")
    if ended.worker:
        told.append(f"on {ended.worker}")
    if ended.retries:
        told.append(f"in retry {ended.retries}")
    yield f"result: {' '.join(told)}" + (f": {ended.error}" if ended.error else "")
    if ended.result is not None:
        yield f"returned: {ended.result!r}"


def _reason(reason: str, exception: str | None) -> str:
    told = f"{reason} ({_REASONS[reason]})" if reason in _REASONS else reason
    return f"{told}: {exception}" if exception else told


def duration(seconds: float) -> str:
    """A time span in one unit: `8 s`, `5 min`, `3 h`, `12 d`."""
    seconds = max(0.0, seconds)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _ago(seconds: float) -> str:
    return f"{duration(seconds)} ago"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _moment(iso: object) -> float | None:
    try:
        moment = datetime.fromisoformat(iso) if isinstance(iso, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
