"""Every way in which a task can end: what is a failure is on the dead list with its reason, the rest is not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import chord, states

from tests.deadletters.stage import ENDINGS, PATIENCE, QUEUE, Stage, eventually, give_back_often

#: The ending of `endings` -> the reason on the dead list, and a part of the exception that the letter names.
FAILURES = {
    "fail": ("failed", "ValueError('no reason')"),
    "fail_unpicklable": ("failed", "UnpicklableError"),
    "fail_early": ("failed", "ValueError('acknowledged before it ran')"),
    "fail_with_own_base": ("failed", "ValueError('from a base of its own')"),
    "fail_unheard": ("failed", "ValueError('nobody wants the result')"),
    "break_off": ("failed", "TypeError('a wrong program')"),
    "run_out_of_memory": ("failed", "MemoryError('no more')"),
    "exhaust": ("retries-exhausted", "ConnectionError('never')"),
    "exhaust_by_hand": ("retries-exhausted", "MaxRetriesExceededError"),
    "outlast_soft": ("soft-time-limit", "SoftTimeLimitExceeded"),
    "outlast_hard": ("time-limit", "TimeLimitExceeded"),
    "outlast_the_callers_limit": ("time-limit", "TimeLimitExceeded(1"),
    "reject": ("rejected", "not mine"),
    "lose_child_for_good": ("worker-lost", "WorkerLostError"),
    # The message was requeued once more than the delivery limit, here 0, allows.
    "lose_child": ("delivery-limit", ""),
    "leave": ("delivery-limit", ""),
    "requeue": ("delivery-limit", ""),
}
#: An argument, which nothing but the message itself may show.
SECRET = "4711-hunter2"
NO_FAILURES = ("succeed", "succeed_later", "ignore")
#: Those that end alike in pools without processes, and without limits.
EVERYWHERE = ("fail", "fail_early", "exhaust", "reject", "requeue", "run_out_of_memory")


def send_all(stage: Stage, names: Iterable[str]) -> dict[str, str]:
    arguments = {"fail": ("reason",), "exhaust_by_hand": (SECRET,)}
    options: dict[str, dict[str, int]] = {"outlast_the_callers_limit": {"time_limit": 1}}
    return {name: stage.send(name, *arguments.get(name, ()), **options.get(name, {})).id for name in names}


def test_a_task_that_fails_is_dead_with_its_reason(stage: Stage) -> None:
    worker = stage.worker(FLEET_CONCURRENCY="2")
    sent = send_all(stage, (*FAILURES, *NO_FAILURES))
    revoked, expired = uuid4().hex, uuid4().hex
    stage.app.control.revoke(revoked)
    stage.send("succeed", task_id=revoked)
    stage.send("succeed", task_id=expired, expires=datetime.now(UTC) - timedelta(seconds=1))
    dead = stage.wait_settled(len(FAILURES))
    found = {name: dead[sent[name]] for name in FAILURES if sent[name] in dead}
    assert {n: entry.reason for n, entry in found.items()} == {n: reason for n, (reason, _) in FAILURES.items()}
    for name, (_, exception) in FAILURES.items():
        cause = found[name].cause
        assert exception in cause.exception, name
        assert bool(cause.worker) == bool(exception), name
    assert "raise ValueError" in found["fail"].cause.traceback
    assert "in break_off" in found["break_off"].cause.traceback
    assert len(dead) == len(FAILURES), "what is no failure of a task is not dead"
    result = stage.app.AsyncResult
    assert {str(result(task).state) for task in (revoked, expired)} == {states.REVOKED}, "seen, though not dead"
    assert result(sent["succeed_later"]).get() == 1
    assert result(sent["fail"]).state == states.FAILURE
    assert worker.process.poll() is None, "the worker outlives them all"
    log = worker.log.read_text()
    assert f"task {ENDINGS}.fail_with_own_base has a base class of its own" in log
    shown = (log, str(result(sent["exhaust_by_hand"]).result), *(str(entry.cause) for entry in found.values()))
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize("pool", ["gevent", pytest.param("threads", marks=pytest.mark.slow)])
def test_failures_end_alike_in_every_pool(stage: Stage, pool: str) -> None:
    stage.worker(FLEET_POOL=pool, FLEET_CONCURRENCY="4")
    sent = send_all(stage, (*EVERYWHERE, *NO_FAILURES))
    dead = stage.wait_settled(len(EVERYWHERE))
    reasons = {name: dead[sent[name]].reason for name in EVERYWHERE}
    assert reasons == {name: FAILURES[name][0] for name in EVERYWHERE}
    assert len(dead) == len(EVERYWHERE)


def test_messages_that_nobody_can_run_are_dead_with_their_reason(stage: Stage) -> None:
    stage.app.send_task("of.no.version", queue=QUEUE)
    give_back_often(stage, 1)
    with stage.app.producer_or_acquire() as producer:

        def publish(body: Any, kind: str, encoding: str = "utf-8", **headers: Any) -> None:
            producer.publish(
                body, routing_key=QUEUE, content_type=kind, content_encoding=encoding, headers=headers or None
            )

        task = {"task": f"{ENDINGS}.succeed", "id": "bad"}
        publish(b"\xff{", "application/json", **task)
        publish(b"gASVAAAA", "application/x-python-serialize", "binary", **task)
        publish("[" + " " * 2000 + "[], {}, {}]", "application/json", **task)
        publish('{"no": "task"}', "application/json")
        publish("[[], {}, {}]", "application/json", **task, expires="some day")
        publish("[[], {}, {}]", "application/json", **task, compression="application/x-gzip")
    worker = stage.worker(FLEET_MESSAGE_LIMIT="1024")
    eventually(lambda: len(stage.dead()) == 7, "all of them are dead")
    reasons = {entry.reason: entry.cause for entry in stage.dead()}
    assert set(reasons) == {"undecodable", "refused", "oversized", "not-a-task", "invalid-task", "unknown-task"}
    assert "2012 bytes, the limit is 1024" in reasons["oversized"].exception
    assert "application/x-python-serialize" in reasons["refused"].exception
    assert stage.send("succeed").get(timeout=60) == "done", "they stop no worker"
    assert worker.process.poll() is None


def test_a_task_that_takes_its_worker_along_is_dead_after_the_lease(stage: Stage) -> None:
    mark = Path(stage.directory, "began")
    sent = stage.send("outlast", str(mark)).id
    killed = stage.worker()
    eventually(mark.exists, "the task runs")
    killed.kill()
    stage.worker()
    dead = stage.wait_settled(1)
    assert (dead[sent].reason, dead[sent].losses) == ("delivery-limit", 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_retry_for_which_there_is_no_room_goes_back(stage: Stage) -> None:
    """Celery would drop it. Publishing waits for a minute for room, then the message itself is the retry."""
    sent = stage.send("retry_at_gate", str(stage.directory))
    worker = stage.worker(FLEET_TASK_MODULES="tests.deadletters.patient_endings")
    eventually(Path(stage.directory, "began").exists, "the task runs")
    primary = stage.cluster.primary_for(stage.lists.places(QUEUE)[0].dead)
    primary.admin.config_set("maxmemory", 1)
    try:
        Path(stage.directory, "gate").touch()
        eventually(lambda: "its retry could not be sent" in worker.log.read_text(), "nobody takes the retry", 100)
        Path(stage.directory, "open").touch()
    finally:
        primary.admin.config_set("maxmemory", 0)
    assert sent.get(timeout=60) == "in retry 0"
    assert "It was to be retried after ConnectionError('the other side is away')" in worker.log.read_text()
    assert stage.dead() == []


@pytest.mark.slow
def test_between_failure_and_letter_nothing_is_lost(stage: Stage) -> None:
    sent = stage.send("fail_at_gate", str(stage.directory)).id
    worker = stage.worker()
    eventually(Path(stage.directory, "began").exists, "the task runs")
    primary = stage.cluster.primary_for(stage.lists.places(QUEUE)[0].dead)
    # The shard takes nothing while the task fails and its worker dies.
    primary.admin.execute_command("CLIENT", "PAUSE", 20_000, "WRITE")
    Path(stage.directory, "gate").touch()
    eventually(lambda: "the gate is open" in worker.log.read_text(), "the task failed")
    worker.kill()
    primary.admin.execute_command("CLIENT", "UNPAUSE")
    stage.worker()
    dead = stage.wait_settled(1)
    assert list(dead) == [sent], "one letter, whoever wrote it"
    assert dead[sent].reason in ("failed", "delivery-limit")


def test_a_part_of_a_chord_counts_whose_process_died_before_it_did(stage: Stage) -> None:
    """Celery acknowledges what has stored its result, and the chord would wait for ever."""
    stage.worker()
    log = stage.directory / "runs"
    header = [
        stage.app.signature(f"{ENDINGS}.number", (1,), queue=QUEUE),
        stage.app.signature(f"{ENDINGS}.lose_child_before_it_counts", (str(log), 2), queue=QUEUE),
    ]
    body = stage.app.signature(f"{ENDINGS}.total", queue=QUEUE)
    assert chord(header, body)().get(timeout=PATIENCE) == 3
    assert log.read_text() == "ran\n", "what has succeeded does not run again"
    assert stage.wait_settled(0) == {}


def test_who_ends_a_task_by_hand_gets_no_letter(stage: Stage) -> None:
    stage.worker(FLEET_CONCURRENCY="2")
    sent = []
    for name in ("outlast", "outlast_early"):
        mark = Path(stage.directory, name)
        sent.append(stage.send(name, str(mark)))
        eventually(mark.exists, "the task runs")
    stage.app.control.revoke([result.id for result in sent], terminate=True, signal="SIGKILL")
    eventually(lambda: {str(result.state) for result in sent} == {states.REVOKED}, "they are revoked")
    # It gets a process only when the others are gone, whose end was noticed then.
    failed = stage.send("fail").id
    assert list(stage.wait_settled(1)) == [failed]


def test_results_callbacks_and_chords_are_as_without_letters(stage: Stage) -> None:
    stage.worker()
    signature = stage.app.signature

    def number(value: int) -> Any:
        return signature(f"{ENDINGS}.number", (value,), queue=QUEUE)

    total = signature(f"{ENDINGS}.total", queue=QUEUE)
    assert chord([number(1), number(2)], total)().get(timeout=60) == 3
    broken = chord([number(1), number(-2)], total)()
    with pytest.raises(ValueError, match="-2"):
        broken.get(timeout=60)
    called = number(5).set(task_id=uuid4().hex, immutable=True)
    stage.send("fail", link_error=called)
    assert stage.app.AsyncResult(called.id).get(timeout=60) == 5
    assert len(stage.wait_settled(2)) == 2, "the part of the chord, and the task with the callback"


def test_a_result_may_expire_sooner_than_the_others(stage: Stage) -> None:
    stage.worker()
    soon, later = stage.send("expire_soon"), stage.send("succeed")
    assert (soon.get(timeout=60), later.get(timeout=60)) == ("soon forgotten", "done")
    backend: Any = stage.app.backend
    left = [backend.client.cluster.call(key, "TTL", key) for key in map(backend.get_key_for_task, (soon.id, later.id))]
    assert 0 < left[0] <= 600 < left[1]
