"""The planning and judging of the chaos runs, without a cluster."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.chaos.faults import WAYS
from tests.chaos.judge import (
    HEADER,
    REPEATED,
    STALLED,
    TAKEN_AT_THE_END,
    Sent,
    Strike,
    judge,
    seconds_until_flowing,
    table,
)
from tests.chaos.ledger import Line, Reader, Record, write
from tests.chaos.plan import Kind, Step, schedule

LEASE = 6.0


#: Kinds after which nothing may run twice, even if it was in the hands of a worker and on a shard that they hit.
NO_CAUSES = (
    Kind.FAILOVER,
    Kind.RESTART_ALL,
    Kind.MIGRATE_SLOT,
    Kind.HALF_MIGRATION,
    Kind.ADD_NODE,
    Kind.LOSE_REPLIES,
    Kind.SLOW_NODE,
    Kind.KILL_CLIENTS,
    Kind.FLUSH_SCRIPTS,
    Kind.ROTATE_PASSWORD,
    Kind.FULL_MEMORY,
    Kind.MOVE_CLOCK,
)


def first(number: int, seed: int) -> list[Step]:
    return list(islice(schedule(seed, workers=2, children=3, queues=4), number))


def strike(
    kind: Kind,
    *,
    workers: frozenset[int] = frozenset(),
    processes: frozenset[int] = frozenset(),
    queues: frozenset[str] = frozenset(),
    stopped: dict[int, float] | None = None,
) -> Strike:
    made = Strike(Step(kind, 0, 0, 0, 0), 9.9, 10.0, healed=12.0, workers=workers, processes=processes, queues=queues)
    made.stopped |= stopped or {}
    return made


def on_both(kind: Kind, queue: str = "q") -> Strike:
    """A fault of a worker and a queue."""
    return strike(kind, workers=frozenset({5}), queues=frozenset({queue}))


def record(*runs: tuple[int, int, float, float | None]) -> Record:
    """A record of (number, worker, began, done); the worker's only pool process has its id plus 100."""
    made = Record()
    for number, worker, began, done in runs:
        made.add([Line("began", number, worker, worker + 100, began)])
        if done is not None:
            made.add([Line("done", number, worker, worker + 100, done)])
    return made


def test_a_seed_gives_the_same_faults_and_targets_again() -> None:
    assert first(100, 7) == first(100, 7)
    assert first(100, 7) != first(100, 8)


def test_every_round_has_every_kind_and_targets_that_exist() -> None:
    steps = first(3 * len(Kind), 7)
    for start in range(0, len(steps), len(Kind)):
        assert {step.kind for step in steps[start : start + len(Kind)]} == set(Kind)
    assert {step.worker for step in steps} == {0, 1}
    assert {step.child for step in steps} == {0, 1, 2}
    assert {step.queue for step in steps} == {0, 1, 2, 3}
    assert {step.target for step in steps} == {0, 1}


def test_what_was_sent_and_not_done_is_lost_and_the_reverse_is_strange() -> None:
    result = judge([Sent(1, "q", 0), Sent(2, "q", 0)], record((2, 5, 1, None), (3, 5, 2, 3)), [], LEASE)
    assert (result.sent, result.run, result.lost, result.strange) == (2, 0, [1, 2], [3])
    assert len(result.problems()) == 2


@pytest.mark.parametrize(
    ("hit", "runs", "explained"),
    [
        # The worker that was killed had it, another one has not.
        (strike(Kind.KILL_WORKER, workers=frozenset({5})), [(1, 5, 9.9, None), (1, 6, 16, 17)], True),
        (strike(Kind.KILL_WORKER, workers=frozenset({5})), [(1, 6, 9.9, 10.1), (1, 5, 16, 17)], False),
        # It ran only after the fault, or again before it.
        (strike(Kind.KILL_WORKER, workers=frozenset({5})), [(1, 5, 10.1, 10.2), (1, 6, 16, 17)], False),
        (strike(Kind.KILL_WORKER, workers=frozenset({5})), [(1, 5, 9, 9.1), (1, 6, 9.5, 9.6)], False),
        (strike(Kind.KILL_CHILD, processes=frozenset({105})), [(1, 5, 9.9, None), (1, 6, 10.1, 11)], True),
        (strike(Kind.KILL_CHILD, processes=frozenset({104})), [(1, 5, 9.9, None), (1, 6, 10.1, 11)], False),
        (strike(Kind.STOP_CHILD, processes=frozenset({105})), [(1, 5, 9.9, None), (1, 6, 10.1, 11)], True),
        (strike(Kind.STOP_CHILD, processes=frozenset({104})), [(1, 5, 9.9, None), (1, 6, 10.1, 11)], False),
        # A frozen worker may come first or second.
        (strike(Kind.FREEZE_WORKER, workers=frozenset({5})), [(1, 5, 9.9, 12.1), (1, 6, 11, 11.1)], True),
        (strike(Kind.FREEZE_WORKER, workers=frozenset({5})), [(1, 6, 11, 11.1), (1, 5, 12.1, 12.2)], True),
        (strike(Kind.FREEZE_WORKER, workers=frozenset({5})), [(1, 6, 11, 11.1), (1, 7, 12.1, 12.2)], False),
        (strike(Kind.FREEZE_WORKER, workers=frozenset({5})), [(1, 5, 19, 19.1), (1, 6, 20, 20.1)], False),
        # A worker that was told to stop just when its process took the task.
        (strike(Kind.STOP_WORKER, stopped={5: 10.0}), [(1, 5, 10.01, 10.02), (1, 6, 10.2, 10.3)], True),
        (strike(Kind.ROLLING_RESTART, stopped={5: 10.0}), [(1, 5, 9.99, 10.02), (1, 6, 10.2, 10.3)], True),
        (
            strike(Kind.ROLLING_RESTART, stopped={5: 10.0}),
            [(1, 5, 9.9 - TAKEN_AT_THE_END, 10.02), (1, 6, 10.2, 10.3)],
            False,
        ),
        (strike(Kind.ROLLING_RESTART, stopped={6: 10.0}), [(1, 5, 9.99, 10.02), (1, 6, 10.2, 10.3)], False),
        # A worker that was cut off, and only from the node of this queue.
        (on_both(Kind.CUT_OFF), [(1, 5, 9.9, 10.0), (1, 6, 16.1, 16.2)], True),
        (on_both(Kind.CUT_OFF), [(1, 6, 16.1, 16.2), (1, 5, 16.5, 16.6)], True),
        (on_both(Kind.CUT_OFF), [(1, 6, 9.9, 10.0), (1, 7, 16.1, 16.2)], False),
        (on_both(Kind.CUT_OFF, "r"), [(1, 5, 9.9, 10.0), (1, 6, 16.1, 16.2)], False),
        (strike(Kind.CUT_OFF), [(1, 5, 9.9, 10.0), (1, 6, 16.1, 16.2)], False),
        # Either of two that were lost at once; of two primaries only those that did not come back themselves.
        (on_both(Kind.KILL_PRIMARY_AND_WORKER), [(1, 6, 9.95, 9.96), (1, 7, 16, 17)], True),
        (strike(Kind.KILL_PRIMARY_AND_WORKER, workers=frozenset({5})), [(1, 5, 9.8, None), (1, 6, 16, 17)], True),
        (on_both(Kind.KILL_PRIMARY_AND_WORKER), [(1, 6, 9.8, 9.85), (1, 7, 16, 17)], False),
        (strike(Kind.KILL_TWO_PRIMARIES, queues=frozenset({"q"})), [(1, 5, 9.8, 9.95), (1, 6, 13, 14)], True),
        (strike(Kind.KILL_TWO_PRIMARIES), [(1, 5, 9.8, 9.95), (1, 6, 13, 14)], False),
        # Only what the lost primary served, and only since the replica was known to have caught up.
        (strike(Kind.KILL_PRIMARY, queues=frozenset({"q"})), [(1, 5, 9.8, 9.95), (1, 6, 13, 14)], True),
        (strike(Kind.KILL_PRIMARY, queues=frozenset({"q"})), [(1, 5, 9.5, 9.8), (1, 6, 13, 14)], False),
        (strike(Kind.KILL_PRIMARY, queues=frozenset({"r"})), [(1, 5, 9.8, 9.95), (1, 6, 13, 14)], False),
        (strike(Kind.FREEZE_PRIMARY, queues=frozenset({"q"})), [(1, 5, 12.1, 12.2), (1, 6, 13, 14)], False),
        *((on_both(kind), [(1, 5, 9.9, 10.1), (1, 6, 11, 12)], False) for kind in NO_CAUSES),
    ],
)
def test_only_a_fault_that_hit_this_very_run_explains_another(
    hit: Strike, runs: list[tuple[int, int, float, float | None]], explained: bool
) -> None:
    result = judge([Sent(1, "q", 0)], record(*runs), [hit], LEASE)
    assert result.causes == {1: hit.step.kind.value if explained else ""}
    assert bool(result.problems()) is not explained


@pytest.mark.parametrize(
    ("runs", "explained"),
    [
        # Done before the ack could be sent, or still at it; taken before and begun when it woke.
        ([(1, 5, 9.0, 9.9), (1, 6, 14.0, 14.1)], True),
        ([(1, 5, 12.0, 12.1), (1, 6, 14.0, 14.1)], True),
        ([(1, 5, 1.0, None), (1, 6, 14.0, 14.1)], True),
        ([(1, 6, 14.0, 14.1), (1, 5, 15.5, 15.6)], True),
        # The other one stood still; it was done with it long before; others had it both times.
        ([(1, 6, 9.0, 9.9), (1, 7, 14.0, 14.1)], False),
        ([(1, 5, 7.0, 7.1), (1, 6, 14.0, 14.1)], False),
        ([(1, 6, 9.0, 9.9), (1, 5, 14.0, 14.1)], False),
        # It ran twice before it stood still, or only long after.
        ([(1, 5, 9.0, 9.1), (1, 6, 9.2, 9.3)], False),
        ([(1, 5, 22.0, 22.1), (1, 6, 23.0, 23.1)], False),
        ([(1, 6, 14.0, 14.1), (1, 5, 22.0, 22.1)], False),
    ],
)
def test_a_worker_that_stood_still_explains_what_it_held_meanwhile(
    runs: list[tuple[int, int, float, float | None]], explained: bool
) -> None:
    made = record(*runs)
    made.add([Line("stalled", 5000, 5, 5, 15.0)])
    assert judge([Sent(1, "q", 0)], made, [], LEASE).causes == {1: STALLED if explained else ""}


def test_each_further_run_needs_its_own_cause() -> None:
    hit = strike(Kind.KILL_WORKER, workers=frozenset({5}))
    result = judge([Sent(1, "q", 0)], record((1, 5, 9, 9.9), (1, 6, 16, 17), (1, 7, 18, 19)), [hit], LEASE)
    assert result.unexplained == [1]


def test_a_chord_may_end_twice_when_a_part_had_a_cause_to_run_twice() -> None:
    hit = strike(Kind.KILL_WORKER, workers=frozenset({5}))
    sent = [Sent(1, "q", 0), Sent(2, "q", 0, parts=(1,))]
    runs = [(1, 5, 9.0, 9.9), (1, 6, 16.0, 17.0), (2, 6, 10.5, 10.6), (2, 6, 17.0, 18.0)]
    assert judge(sent, record(*runs), [hit], LEASE).causes == {1: hit.step.kind.value, 2: HEADER}
    assert judge(sent, record(*runs), [], LEASE).unexplained == [1, 2]


def test_what_completes_once_may_return_something_else_only_when_a_primary_took_its_record_along() -> None:
    def judged(hit: Strike) -> list[int]:
        runs = record((1, 5, 9.93, 9.95), (1, 6, 16, 17))
        runs.tokens = {1: {"a", "b"}}
        return judge([Sent(1, "q", 0, once=True)], runs, [hit], LEASE).completed_twice

    assert judged(strike(Kind.KILL_PRIMARY, queues=frozenset({"q"}))) == []
    assert judged(strike(Kind.KILL_PRIMARY, queues=frozenset({"r"}))) == [1]
    assert judged(strike(Kind.KILL_WORKER, workers=frozenset({5}))) == [1]


def test_the_ledger_tells_what_was_written_in_it(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "ledger")
    for line in (Line("ready", 0, 5, 5, 1.0), Line("began", 1, 5, 6, 2.0), Line("returned", 1, 5, 6, 3.0, "x")):
        write(tmp_path / "ledger", line)
    assert (reader.read().ready, reader.read().tokens) == ({5}, {1: {"x"}})
    write(tmp_path / "ledger", Line("done", 1, 5, 6, 4.0))
    assert reader.read().done == {1: 4.0}


def test_there_is_a_way_for_every_kind() -> None:
    assert WAYS.keys() == set(Kind)


def test_two_publishes_are_two_messages() -> None:
    result = judge([Sent(1, "q", 0, repeated=True)], record((1, 5, 1, 2), (1, 6, 3, 4)), [], LEASE)
    assert (result.causes, result.problems()) == ({1: REPEATED}, [])


def test_a_task_that_did_not_end_the_first_time_was_not_done_twice() -> None:
    hit = strike(Kind.KILL_WORKER, workers=frozenset({5}))
    runs = record((1, 5, 9.9, None), (1, 6, 16, 17), (2, 5, 9.8, 9.9), (2, 6, 16, 17))
    result = judge([Sent(1, "q", 0), Sent(2, "q", 0)], runs, [hit], LEASE)
    assert (result.twice, result.again, result.problems()) == ([2], [1], [])


def test_a_queue_flows_when_a_task_published_after_the_fault_is_done() -> None:
    hit = strike(Kind.FAILOVER)
    sent = [Sent(1, "q", 9.9), Sent(2, "q", 10.1), Sent(3, "r", 10.2), Sent(4, "r", 10.1, delay=1.0)]
    runs = record((1, 5, 10.0, 10.05), (2, 5, 10.5, 10.6), (3, 5, 11.4, 11.5), (4, 5, 11.2, 11.3))
    assert seconds_until_flowing(hit, sent, runs, ["q", "r"]) == pytest.approx(1.5)
    assert seconds_until_flowing(hit, sent, runs, ["q", "r", "s"]) is None


def test_the_table_names_every_kind_and_counts_every_cause() -> None:
    hit = strike(Kind.KILL_WORKER, workers=frozenset({5}))
    hit.flowing = 1.25
    runs = record((1, 5, 9.9, 9.95), (1, 6, 16, 17), (2, 6, 1, 2), (2, 6, 3, 4))
    said = table([hit], judge([Sent(1, "q", 0), Sent(2, "q", 0)], runs, [hit], LEASE))
    assert all(f"| {kind} | {int(kind is Kind.KILL_WORKER)} |" in said for kind in Kind)
    assert "| run twice | 2 |" in said
    assert f"| run twice: {Kind.KILL_WORKER} | 1 |" in said
    assert "| run twice: **no cause** | 1 |" in said
