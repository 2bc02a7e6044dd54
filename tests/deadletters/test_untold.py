"""Whoever waits for a task that died without a worker's word is told, once, and only if nobody was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, chord, states
from celery.exceptions import NotRegistered, Retry
from kombu.exceptions import OperationalError
from redis.exceptions import OutOfMemoryError

from service.deadletters import tasks, untold
from service.deadletters.drain import Drainer
from service.deadletters.letter import Handling, Letter
from service.deadletters.store import StoreError
from service.deadletters.untold import is_untold, send_tell, tell
from service.rediscluster import DeadMessageError
from service.rediscluster.errors import ClusterUnavailableError
from tests.deadletters.stage import ENDINGS, LETTERS, OTHER, PATIENCE, QUEUE, Stage, eventually, give_back_often
from tests.deadletters.test_letters import Bench

#: What a letter's caller is told.
SAID = "delivery-limit: it was lost or requeued more often than delivery_limit allows"


@pytest.fixture
def bench(stage: Stage) -> Iterator[Bench]:
    made = Bench(stage)
    for queue in (QUEUE, OTHER, LETTERS):
        made.broker.declare(made.broker.keys(queue))
    yield made
    made.broker.cluster.close()


def drain(stage: Stage) -> int:
    def send(letter: Letter) -> None:
        send_tell(stage.app, letter)

    return Drainer(stage.lists, stage.store, [QUEUE], send).drain(QUEUE)


def errback(stage: Stage) -> Any:
    """A callback that lies in a queue without workers."""
    return stage.app.signature(f"{ENDINGS}.number", (5,), queue=OTHER, immutable=True)


def buried(stage: Stage, bench: Bench, reason: str = "delivery-limit", **options: Any) -> Letter:
    """A task's letter, in the store."""
    letter = bench.bury(reason, **options)
    drain(stage)
    return stage.store.get(letter)


def test_who_waits_for_a_task_that_takes_its_processes_along_is_told(stage: Stage) -> None:
    stage.worker(FLEET_QUEUES=f"{QUEUE},{LETTERS}")

    def signature(name: str, *arguments: Any) -> Any:
        return stage.app.signature(f"{ENDINGS}.{name}", arguments, queue=QUEUE)

    called = signature("number", 5).set(task_id=uuid4().hex, immutable=True)
    lost = stage.send("lose_child", link_error=called)
    chained = chain(signature("lose_child"), signature("number"))()
    counted = chord([signature("number", 1), signature("lose_child")], signature("total"))()
    for result in (lost, chained):
        with pytest.raises(DeadMessageError, match=SAID) as told:
            result.get(timeout=PATIENCE)
        assert stage.store.get(told.value.args[1]).reason == "delivery-limit", "it names the letter"
    with pytest.raises(Exception, match="delivery-limit"):
        counted.get(timeout=PATIENCE)
    assert stage.app.AsyncResult(called.id).get(timeout=PATIENCE) == 5
    eventually(lambda: stage.dead() == [], "stored letters leave the dead list")


@pytest.mark.slow
def test_who_waits_for_a_task_that_no_worker_knows_is_told(stage: Stage) -> None:
    """Its last worker stores the result and tells nobody else."""
    name = "of.no.version"
    unknown = stage.app.signature(name, queue=QUEUE, immutable=True)
    known = stage.app.signature(f"{ENDINGS}.number", (5,), queue=OTHER, immutable=True)
    callback = uuid4().hex
    called = known.clone().set(task_id=callback)
    alone = unknown.clone().apply_async(link_error=called)
    chained = chain(unknown.clone(), known.clone())()
    counted = chord([known.clone(), unknown.clone()], stage.app.signature(f"{ENDINGS}.total", queue=OTHER))()
    give_back_often(stage, 3)
    stage.worker(FLEET_QUEUES=f"{QUEUE},{OTHER},{LETTERS}")
    for result in (alone, chained):
        with pytest.raises(NotRegistered, match=name):
            result.get(timeout=PATIENCE)
    with pytest.raises(Exception, match=name):
        counted.get(timeout=PATIENCE)
    assert stage.app.AsyncResult(callback).get(timeout=PATIENCE) == 5
    assert [letter["reason"] for letter in stage.listed()] == ["unknown-task"] * 3


def test_what_cannot_be_read_has_a_result_too(stage: Stage, bench: Bench) -> None:
    with stage.app.producer_or_acquire() as producer:
        for number, (body, kind, encoding) in enumerate(
            [
                (b"\xff{", "application/json", "utf-8"),
                (b"gASVAAAA", "application/x-python-serialize", "binary"),
                ("[[], {}]", "application/json", "utf-8"),
            ]
        ):
            headers = {"task": f"{ENDINGS}.succeed", "id": f"bad-{number}-{stage.directory.name}"}
            producer.publish(body, routing_key=QUEUE, content_type=kind, content_encoding=encoding, headers=headers)
            delivery = bench.take()
            bench.broker.bury(
                bench.broker.keys(QUEUE), [delivery.ack.lease], ("undecodable", "refused", "invalid-task")[number]
            )
    assert drain(stage) == 3
    for letter in [stage.store.get(found["id"]) for found in stage.listed()]:
        assert tell(stage.app, letter, "me")
        with pytest.raises(DeadMessageError, match=letter.reason):
            stage.app.AsyncResult(letter.task_id).get(timeout=PATIENCE)


def test_a_result_that_exists_stays(stage: Stage, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    backend: Any = stage.app.backend
    letter = buried(stage, bench, link_error=errback(stage))
    result = stage.app.AsyncResult(letter.task_id)
    read = backend.client.get

    def read_late(key: str) -> Any:
        """The worker stores its result just after we have looked."""
        monkeypatch.undo()
        found = read(key)
        backend.store_result(letter.task_id, "done", states.SUCCESS)
        return found

    monkeypatch.setattr(backend.client, "get", read_late)
    for _ in range(2):
        assert not tell(stage.app, letter, "me")
        assert (str(result.state), result.get(timeout=PATIENCE)) == (states.SUCCESS, "done")
    failed = buried(stage, bench)
    backend.store_result(failed.task_id, ValueError("no"), states.FAILURE)
    assert not tell(stage.app, failed, "me")
    assert repr(stage.app.AsyncResult(failed.task_id).result) == "ValueError('no')"
    assert bench.messages(OTHER) == [], "no callback"


def home(stage: Stage, task_id: str) -> Any:
    """The node that has the task's result."""
    backend: Any = stage.app.backend
    return stage.cluster.primary_for(backend.get_key_for_task(task_id))


def on_two_shards(stage: Stage) -> tuple[str, str]:
    """Two task ids whose results lie on different shards."""
    first = uuid4().hex
    there = home(stage, first)
    return first, next(other for other in iter(lambda: uuid4().hex, "") if home(stage, other) is not there)


def chained(stage: Stage, bench: Bench, first: str, last: str) -> Letter:
    """The letter of the first task of a chain."""
    sent = [
        stage.app.signature(f"{ENDINGS}.number", (1,), queue=QUEUE, immutable=True).set(task_id=task_id)
        for task_id in (first, last)
    ]
    chain(*sent).apply_async()
    letter = bench.bury_taken("delivery-limit")
    drain(stage)
    return stage.store.get(letter)


def test_who_waits_for_the_end_of_a_chain_is_told_when_there_is_room(stage: Stage, bench: Bench) -> None:
    stage.app.conf.result_backend_transport_options |= {"retry_deadline": 1}
    first, last = on_two_shards(stage)
    letter = chained(stage, bench, first, last)
    shard = home(stage, last).admin
    shard.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            tell(stage.app, letter, "me")
    finally:
        shard.config_set("maxmemory", 0)
    assert stage.app.AsyncResult(first).state == states.FAILURE
    assert tell(stage.app, letter, "me"), "the same one tells again"
    with pytest.raises(DeadMessageError, match=SAID):
        stage.app.AsyncResult(last).get(timeout=PATIENCE)


@pytest.mark.parametrize("state", [states.SUCCESS, states.FAILURE])
def test_a_task_behind_the_dead_one_that_ran_all_the_same_keeps_its_result(
    stage: Stage, bench: Bench, state: str
) -> None:
    first, last = uuid4().hex, uuid4().hex
    letter = chained(stage, bench, first, last)
    own = ValueError("its own")
    stage.app.backend.store_result(last, own if state == states.FAILURE else "done", state)
    assert tell(stage.app, letter, "me")
    assert repr(stage.app.AsyncResult(last).result) == (repr(own) if state == states.FAILURE else "'done'")


@pytest.mark.parametrize("error", [OperationalError("away"), OutOfMemoryError("full"), ClusterUnavailableError("away")])
def test_it_is_tried_again_while_a_queue_or_the_results_are_away(
    stage: Stage, bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What a callback's publisher raises then, and what a result raises that finds no place."""

    def fail(*_: object) -> None:
        raise error

    letter = buried(stage, bench)
    monkeypatch.setattr(untold, "tell", fail)
    for name, value in stage.variables().items():
        monkeypatch.setenv(name, value)
    task: Any = stage.app.tasks[tasks.tell.name]
    task.push_request(retries=0, called_directly=False, is_eager=True, id="1", args=(), kwargs={})
    try:
        with pytest.raises(Retry):
            task.run(letter.id, "me")
    finally:
        task.pop_request()


def test_a_state_that_is_no_end_does_not_stay(stage: Stage, bench: Bench) -> None:
    letter = buried(stage, bench)
    stage.app.backend.store_result(letter.task_id, {"pid": 1}, states.STARTED)
    assert tell(stage.app, letter, "me")
    assert stage.app.AsyncResult(letter.task_id).state == states.FAILURE


def test_a_task_that_ignores_its_result_has_its_callback_and_no_result(stage: Stage, bench: Bench) -> None:
    letter = buried(stage, bench, ignore_result=True, link_error=errback(stage))
    assert tell(stage.app, letter, "me")
    assert not tell(stage.app, letter, "somebody else")
    assert stage.app.AsyncResult(letter.task_id).state == states.PENDING
    assert len(bench.messages(OTHER)) == 1


def test_of_what_nobody_trusted_has_signed_nobody_is_told(stage: Stage, bench: Bench) -> None:
    letter = buried(stage, bench, serializer="pickle", link_error=errback(stage))
    stage.app.conf.security_key = "key.pem"
    assert not tell(stage.app, letter, "me")
    assert stage.app.AsyncResult(letter.task_id).state == states.PENDING
    stage.app.conf.security_key = None
    assert tell(stage.app, letter, "me")
    assert bench.messages(OTHER) == [], "what pickle holds is not read"


def test_only_deaths_of_which_no_worker_told_are_told(stage: Stage, bench: Bench) -> None:
    for reason in ("failed", "retries-exhausted", "rejected", "worker-lost", "time-limit"):
        assert not is_untold(buried(stage, bench, reason))
    assert bench.messages(LETTERS) == []


def test_a_letter_is_told_of_once(stage: Stage, bench: Bench) -> None:
    twice = bench.bury("delivery-limit", link_error=errback(stage))
    (entry,) = stage.dead()
    again, completed = bench.bury("delivery-limit"), uuid4().hex
    # A worker recorded that the task is done, and died before it stored the result.
    stage.app.send_task(f"{ENDINGS}.number", (7,), task_id=completed, queue=QUEUE)
    delivery, keys = bench.take(), bench.broker.keys(QUEUE)
    bench.broker.complete(keys, delivery.ack, completed, b"text/plain\nutf-8\ndone")
    bench.broker.bury(keys, [delivery.ack.lease], "delivery-limit")
    assert drain(stage) == 3
    bench.broker.cluster.call(keys.dead, "ZADD", keys.dead, entry.died, entry.member)
    assert drain(stage) == 1, "it is drained once more"
    stage.store.move(again, ["open"], Handling("replaying", 1, "ada", QUEUE))
    stage.worker(FLEET_QUEUES=LETTERS)

    def done() -> bool:
        stats = stage.inspector.stats(LETTERS)
        return not (stats.depth or stats.leased or stats.delayed)

    eventually(done, "everybody is told")
    assert len(bench.messages(OTHER)) == 1, "its callback was called once"
    state = {letter: stage.app.AsyncResult(stage.store.get(letter).task_id).state for letter in (twice, again)}
    assert state == {twice: states.FAILURE, again: states.PENDING}, "what is on its way again has not failed"
    assert stage.app.AsyncResult(completed).state == states.PENDING, (
        "it has not failed either: a replay brings its result"
    )
    assert stage.dead(LETTERS) == []


def test_a_letter_is_stored_while_nobody_can_be_told(stage: Stage, bench: Bench) -> None:
    lost, failed, lost_too = bench.bury("delivery-limit"), bench.bury("failed"), bench.bury("delivery-limit")
    told: list[str] = []
    away = True

    def send(letter: Letter) -> None:
        told.append(letter.id)
        if away:
            raise LookupError("the queue is away")

    drainer = Drainer(stage.lists, stage.store, [QUEUE], send)
    with pytest.raises(
        StoreError, match="2 of its letters stay on the dead list: it is stored, but who waits for it cannot"
    ):
        drainer.drain(QUEUE)
    assert told == [lost], "letters do not wait for it again and again"
    assert {letter["id"] for letter in stage.listed()} == {lost, failed, lost_too}
    assert {entry.message_id for entry in stage.dead()} == {lost, lost_too}
    away = False
    assert drainer.drain(QUEUE) == 2
    assert stage.dead() == []
