"""A queue's ticks with a clock, a leadership and a queue of the test's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery.beat import SchedulingError
from celery.schedules import schedule
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from service.beat.due import CATCH_UP
from service.beat.entries import Entry
from service.beat.leader import NotLeadingError, Term
from service.beat.ticker import AUDIT, Ticker

SECOND = 1000
START = 1_700_000_000_000


class Lead:
    """A leadership whose clock the test moves."""

    def __init__(self, taken: dict[str, str] | None = None) -> None:
        self.time = START
        self.term: Term | None = Term(1, taken)
        self.stopped = False
        self.noted = dict(taken or {})

    def now(self) -> int:
        return self.time

    def wait(self, seconds: float) -> None:
        raise AssertionError("rounds do not wait")

    def take(self, entries: dict[str, str]) -> None:
        self.noted |= entries

    def again(self) -> Term:
        """The next term of somebody, who knows what was noted."""
        self.term = Term(self.term.number + 1 if self.term else 1, dict(self.noted))
        return self.term


class Queues:
    """What the queues hold and remember; `away` ones do not answer, `full` ones tell and take nothing."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[str, str], int] = {}
        self.published: list[tuple[str, str, int]] = []
        self.away: set[str] = set()
        self.full: set[str] = set()
        self.refused: set[str] = set()
        self.between: Any = None

    def _ask(self, queue: str) -> None:
        if queue in self.away:
            raise RedisConnectionError(f"{queue} is away")

    def last(self, queue: str, lane: str) -> int | None:
        self._ask(queue)
        return self.lanes.get((queue, lane))

    def advance(self, queue: str, lane: str, number: int) -> int:
        self._ask(queue)
        self.lanes[queue, lane] = max(number, self.lanes.get((queue, lane), 0))
        return self.lanes[queue, lane]

    def publish(self, entry: Entry, due: int) -> None:
        self._ask(entry.queue)
        if entry.queue in self.full:
            # As Celery raises it.
            try:
                raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'")
            except OutOfMemoryError as error:
                raise SchedulingError(f"Couldn't apply scheduled task {entry.name}: {error}") from error
        if entry.name in self.refused:
            raise TypeError("not JSON")
        if self.between:
            self.between()
        if due > self.lanes.get((entry.queue, entry.lane), 0):
            self.lanes[entry.queue, entry.lane] = due
            self.published.append((entry.queue, entry.name, due))

    def dues(self, name: str) -> list[int]:
        """When an entry was published, in seconds since the start."""
        return [(due - START) // SECOND for _, entry, due in self.published if entry == name]


def every(seconds: float, name: str = "a", queue: str = "celery") -> Entry:
    class Celery:
        task = "a.task"

    return Entry(name, queue, schedule(timedelta(seconds=seconds)), Celery())


def ticker(entries: list[Entry], lead: Lead, queues: Queues) -> Ticker:
    return Ticker(entries[0].queue, entries, lead, queues, queues.publish)


def rounds(one: Ticker, lead: Lead, seconds: int, step: float = 0.25) -> None:
    """Let time pass, and the ticker look now and then."""
    for _ in range(int(seconds / step)):
        if lead.term:
            one.round(lead.term)
        lead.time += int(step * SECOND)


def test_each_tick_is_published_once_in_order() -> None:
    lead, queues = Lead(), Queues()
    rounds(ticker([every(1), every(3, "b")], lead, queues), lead, 9)
    assert queues.dues("a") == list(range(1, 9))
    assert queues.dues("b") == [n for n in range(1, 9) if (START // SECOND + n) % 3 == 0]
    assert queues.published == sorted(queues.published, key=lambda row: row[2])


def test_a_new_entry_begins_now() -> None:
    lead, queues = Lead(taken={"other": "celery"}), Queues()
    queues.lanes["celery", "tick:a"] = START - 60 * SECOND
    rounds(ticker([every(1)], lead, queues), lead, 2)
    assert queues.dues("a") == [1]
    assert lead.noted == {"other": "celery", "a": "celery"}


def test_the_next_leader_goes_on_where_the_last_one_ended() -> None:
    lead, queues = Lead(), Queues()
    rounds(ticker([every(1)], lead, queues), lead, 5)
    lead.time += 20 * SECOND
    lead.again()
    rounds(ticker([every(1)], lead, queues), lead, 3)
    assert queues.dues("a") == list(range(1, 28))


def test_without_the_notes_of_the_leader_before_the_queue_is_asked() -> None:
    lead, queues = Lead(taken=None), Queues()
    queues.lanes["celery", "tick:a"] = START - 3 * SECOND
    rounds(ticker([every(1)], lead, queues), lead, 1)
    assert queues.dues("a") == [-2, -1, 0]


def test_after_a_long_outage_there_is_one_run_and_no_burst() -> None:
    lead, queues = Lead(), Queues()
    rounds(ticker([every(1)], lead, queues), lead, 3)
    lead.time += 2 * CATCH_UP
    lead.again()
    caught_up = lead.time // SECOND - START // SECOND
    rounds(ticker([every(1)], lead, queues), lead, 2)
    assert queues.dues("a") == [1, 2, caught_up, caught_up + 1]


def test_who_woke_after_its_term_publishes_nothing_twice() -> None:
    """It was stopped between its last look at the term and the publish; meanwhile somebody else led."""
    lead, queues = Lead(), Queues()
    frozen = ticker([every(1)], lead, queues)
    rounds(frozen, lead, 3)
    old = lead.term
    assert old is not None

    def meanwhile() -> None:
        queues.between = None
        lead.time += 10 * SECOND
        rounds(ticker([every(1)], lead, queues), lead, 2)
        lead.term = None

    lead.again()
    queues.between = meanwhile
    frozen.round(old)
    assert queues.dues("a") == list(range(1, 15))


def test_a_leader_that_lost_its_term_stops_between_two_ticks() -> None:
    lead, queues = Lead(), Queues()
    one = ticker([every(1)], lead, queues)
    rounds(one, lead, 1)
    term = lead.term
    assert term is not None
    lead.time += 5 * SECOND
    queues.between = lambda: setattr(lead, "term", None)
    with pytest.raises(NotLeadingError):
        one.round(term)
    assert queues.dues("a") == [1]


def test_an_entry_that_moves_to_another_queue_misses_nothing() -> None:
    lead, queues = Lead(), Queues()
    rounds(ticker([every(1)], lead, queues), lead, 3)
    lead.again()
    moved = ticker([every(1, queue="sync_queue")], lead, queues)
    queues.away.add("celery")
    lead.time += 2 * SECOND
    rounds(moved, lead, 2)
    assert queues.dues("a") == [1, 2], "not before it is known what the old queue had"
    assert moved.late() >= 1
    queues.away.clear()
    rounds(moved, lead, 1)
    assert queues.dues("a") == list(range(1, 8))
    assert {queue for queue, _, due in queues.published if due > START + 2 * SECOND} == {"sync_queue"}
    assert lead.noted == {"a": "sync_queue"}


@pytest.mark.parametrize("trouble", ["away", "full"])
def test_a_queue_that_takes_nothing_gets_its_ticks_when_it_does(trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    lead, queues = Lead(), Queues()
    one = ticker([every(1), every(2, "b")], lead, queues)
    rounds(one, lead, 3)
    troubled: set[str] = getattr(queues, trouble)
    troubled.add("celery")
    rounds(one, lead, 10)
    assert one.late() == pytest.approx(10, abs=1)
    troubled.clear()
    rounds(one, lead, 2)
    assert queues.dues("a") == list(range(1, 15))
    assert queues.dues("b") == [n for n in range(1, 15) if (START // SECOND + n) % 2 == 0]
    assert one.late() == 0
    assert {record.getMessage().partition(",")[0] for record in caplog.records} == {"queue celery takes no ticks"}


def test_what_a_failover_undid_is_published_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lead, queues = Lead(), Queues()
    one = ticker([every(1)], lead, queues)
    rounds(one, lead, 6)
    # The replica had not heard of the last two.
    queues.lanes["celery", "tick:a"] = START + 3 * SECOND
    queues.published = queues.published[:3]
    later = one._audit_at + 1
    monkeypatch.setattr("service.beat.ticker.time.monotonic", lambda: later)
    rounds(one, lead, 1)
    assert queues.dues("a") == list(range(1, 7))
    assert AUDIT <= 10, "a tick may be late by so much"


def test_what_a_failover_undid_is_not_hidden_by_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.beat.ticker.time.monotonic", lambda: 1.0)
    lead, queues = Lead(), Queues()
    one = ticker([every(1)], lead, queues)
    rounds(one, lead, 6)
    queues.lanes["celery", "tick:a"] = START + 4 * SECOND
    queues.published = queues.published[:4]
    rounds(one, lead, 2)
    assert queues.dues("a") == list(range(1, 8)), "though it is not yet time to ask again"


def test_a_queue_that_was_emptied_gets_the_tick_that_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.beat.ticker.time.monotonic", lambda: 1.0)
    lead, queues = Lead(), Queues()
    one = ticker([every(1)], lead, queues)
    rounds(one, lead, 6)
    queues.lanes.clear()
    rounds(one, lead, 2)
    assert queues.dues("a") == list(range(1, 8))


def test_an_entry_that_cannot_be_published_does_not_stop_the_others() -> None:
    lead, queues = Lead(), Queues()
    queues.refused.add("a")
    one = ticker([every(1), every(1, "b")], lead, queues)
    rounds(one, lead, 4)
    assert queues.dues("b") == [1, 2, 3]
    assert one.late() >= 2, "the alarm tells"
    assert queues.dues("a") == []
