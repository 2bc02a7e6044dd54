"""From the dead list into the store, and what a person does with a letter there."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from service.deadletters.actions import Desk
from service.deadletters.drain import BATCH, Drainer
from service.deadletters.letter import Handling, Letter, Selection, State, Summary
from service.deadletters.sqlite import SqliteStore
from service.deadletters.store import StoreError
from service.deadletters.untold import send_tell
from service.rediscluster.broker import Broker
from service.rediscluster.deadlist import Cause, DeadLists, DeadMessage, word
from service.rediscluster.keys import QueueKeys
from service.rediscluster.message_format import unpack
from service.rediscluster.options import parse
from tests.deadletters.stage import ENDINGS, OTHER, QUEUE, Stage, eventually

TASK = f"{ENDINGS}.number"


class Bench:
    """Dead letters without workers."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.broker = Broker(parse(stage.app.conf.broker_url, stage.app.conf.broker_transport_options))
        self.leases = 0

    def take(self, queue: str = QUEUE) -> Any:
        """The only message of a queue, held by us."""
        self.leases += 1
        (delivery,) = self.broker.settle(self.broker.keys(queue), "bench", 1, self.leases).deliveries
        return delivery

    def bury(self, reason: str = "rejected", queue: str = QUEUE, **options: Any) -> str:
        """Send a task and put it on the dead list; returns the letter's id."""
        options = {"args": (7,), **options}
        self.stage.app.send_task(options.pop("name", TASK), queue=queue, **options)
        return self.bury_taken(reason, queue)

    def bury_taken(self, reason: str, queue: str = QUEUE) -> str:
        """Put the next message on the dead list; returns the letter's id."""
        delivery = self.take(queue)
        self.broker.bury(self.broker.keys(queue), [delivery.ack.lease], reason)
        return str(delivery.ack.message_id)

    def messages(self, queue: str = QUEUE) -> list[dict[str, Any]]:
        """Take everything that is ready in a queue."""
        self.leases += 1000
        taken = self.broker.settle(self.broker.keys(queue), "bench", 1000, self.leases).deliveries
        self.broker.settle(self.broker.keys(queue), "bench", 0, 0, [delivery.ack for delivery in taken])
        return [unpack(delivery.payload) | {"delivery": delivery} for delivery in taken]


@pytest.fixture
def bench(stage: Stage) -> Iterator[Bench]:
    made = Bench(stage)
    for queue in (QUEUE, OTHER):
        made.broker.declare(made.broker.keys(queue))
    yield made
    made.broker.cluster.close()


def drain(stage: Stage, store: Any = None, queue: str = QUEUE) -> int:
    return drainer(stage, store, queue).drain(queue)


def drainer(stage: Stage, store: Any = None, *queues: str) -> Drainer:
    return Drainer(stage.lists, store or stage.store, queues or (QUEUE,), partial(send_tell, stage.app))


def desk(stage: Stage, store: Any = None) -> Desk:
    return Desk(store or stage.store, stage.lists, (QUEUE, OTHER), "ada", 30)


class Surprising(DeadLists):
    """Fails as nobody expects when a queue is read."""

    def __init__(self, real: DeadLists) -> None:
        self._real, self.asked = real, 0

    def places(self, queue: str) -> Sequence[QueueKeys]:
        return self._real.places(queue)

    def read(self, place: QueueKeys, start: int, limit: int) -> list[DeadMessage]:
        if place.queue == OTHER:
            self.asked += 1
            raise LookupError("a surprise")
        return self._real.read(place, start, limit)

    def remove(self, message: DeadMessage) -> None:
        self._real.remove(message)


class Broken(SqliteStore):
    """Fails where it is told to."""

    refused: Collection[str] = ()
    error: Exception = StoreError("away")
    broken = False
    forgetful = False

    def put(self, letter: Letter) -> bool:
        if self.broken or letter.id in self.refused:
            raise self.error
        return super().put(letter)

    def move(self, letter_id: str, expected: Collection[State], handling: Handling) -> bool:
        if self.forgetful and handling.state == "replayed":
            raise StoreError("away")
        return super().move(letter_id, expected, handling)


def test_a_letter_leaves_the_list_only_when_it_is_stored(stage: Stage, bench: Bench) -> None:
    store = Broken(stage.file, 30)
    buried = [bench.bury() for _ in range(3)]
    store.broken = True
    with pytest.raises(StoreError):
        drain(stage, store)
    assert {entry.message_id for entry in stage.dead()} == set(buried), "the store is away, nothing is lost"
    store.broken, store.refused = False, buried[:1]
    with pytest.raises(StoreError):
        drain(stage, store)
    assert [entry.message_id for entry in stage.dead()] == buried[:1], "one that is refused holds up nobody"
    store.refused = ()
    assert drain(stage, store) == 1
    assert stage.dead() == []
    assert {letter["id"] for letter in stage.listed()} == set(buried)


def test_an_entry_that_breaks_the_store_stays_and_is_named_once(
    stage: Stage, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    store = Broken(stage.file, 30)
    buried = [bench.bury() for _ in range(3)]
    store.refused, store.error = buried[:1], RuntimeError("no such type")
    repeated = drainer(stage, store)
    for _ in range(2):
        with pytest.raises(StoreError, match="1 of its letters stay on the dead list: RuntimeError: no such type"):
            repeated.drain(QUEUE)
    assert [entry.message_id for entry in stage.dead()] == buried[:1]
    assert {letter["id"] for letter in stage.listed()} == set(buried[1:])
    said = f"queue {QUEUE}: letter {buried[0]} stays on the dead list: RuntimeError: no such type"
    assert [record.getMessage() for record in caplog.records if record.name == "service.deadletters.drain"] == [said]
    store.refused = ()
    assert repeated.drain(QUEUE) == 1


def test_what_is_refused_holds_up_no_other_queue(stage: Stage, bench: Bench) -> None:
    store = Broken(stage.file, 30)
    store.refused = [bench.bury()]
    elsewhere = bench.bury(queue=OTHER)
    with pytest.raises(StoreError):
        drainer(stage, store, QUEUE, OTHER).drain_all()
    assert [letter["id"] for letter in stage.listed()] == [elsewhere]


def test_the_drainer_outlives_whatever_happens(stage: Stage, bench: Bench) -> None:
    letter = bench.bury()
    lists, stopping = Surprising(stage.lists), threading.Event()
    thread = threading.Thread(
        target=Drainer(lists, stage.store, [OTHER, QUEUE], lambda _: None).run, args=(stopping, 0.01)
    )
    thread.start()
    try:
        eventually(lambda: [found["id"] for found in stage.listed()] == [letter], "it is stored")
        eventually(lambda: lists.asked >= 2, "the list that breaks is looked at again")
    finally:
        stopping.set()
        thread.join()


def test_text_that_utf_8_does_not_know_is_stored(stage: Stage, bench: Bench) -> None:
    letter = bench.bury(word("failed", Cause("ValueError('bad name \udcff in file')", "in \udcff", "data@\udcff")))
    assert drain(stage) == 1
    found = stage.store.get(letter)
    assert (found.exception, found.traceback) == (r"ValueError('bad name \udcff in file')", r"in \udcff")
    strange = bench.bury(args=("\udcff",))
    assert drain(stage) == 1
    assert r'[["\udcff"], {}, ' in stage.command("show", strange)[1]


def test_a_long_list_is_drained_by_several_at_once(stage: Stage, bench: Bench) -> None:
    buried = {bench.bury() for _ in range(3 * BATCH)}
    threads = [threading.Thread(target=drain, args=(stage,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {letter["id"] for letter in stage.listed()} == buried
    assert stage.dead() == []


def test_an_entry_that_nobody_understands_is_a_letter_too(stage: Stage, bench: Bench) -> None:
    (place,) = stage.lists.places(QUEUE)
    bench.bury()
    bench.broker.cluster.call(place.dead, "ZADD", place.dead, 1, b"\xff no message")
    assert drain(stage) == 2
    (letter,) = stage.listed("--reason", "unreadable")
    code, output, errors = stage.command("replay", letter["id"])
    assert (code, output) == (1, "")
    assert errors == f"{letter['id']}: cannot be replayed: nobody can read its message\n"
    assert "not a message: 12 bytes" in stage.command("show", letter["id"])[1]


def test_replay_publishes_the_same_task_once_with_counters_reset(stage: Stage, bench: Bench) -> None:
    sent = uuid4().hex
    letter = bench.bury(task_id=sent, retries=3, expires=3600, priority=9)
    drain(stage)
    (before,) = stage.store.find(Selection())
    for attempt, told in enumerate(("published again to data_queue", "nothing to do: replayed by ada at ")):
        code, output, _ = stage.command("replay", letter, "--by", "ada")
        assert code == 0
        assert told in output, attempt
    (message,) = bench.messages()
    delivery = message["delivery"]
    assert (message["headers"]["id"], message["headers"]["task"]) == (sent, TASK)
    assert (message["headers"]["retries"], message["headers"]["expires"]) == (0, None)
    assert (delivery.priority, delivery.losses, delivery.returns) == (9, 0, 0)
    assert json.loads(message["body"])[0] == [7]
    after = stage.store.get(letter)
    assert (after.state, after.handled_by, after.target) == ("replayed", "ada", QUEUE)
    assert after.handled_at > before.died
    assert stage.listed() == []


def test_replay_that_breaks_off_is_completed_and_never_doubled(stage: Stage, bench: Bench) -> None:
    store = Broken(stage.file, 30)
    letter = bench.bury()
    drain(stage)
    store.forgetful = True
    with pytest.raises(StoreError):
        desk(stage, store).replay(letter)
    assert [found["state"] for found in stage.listed()] == ["replaying"], "it still waits for somebody"
    assert len(bench.messages()) == 1
    code, output, _ = stage.command("replay", letter, "--to", OTHER, "--dry-run")
    assert (code, "would only be noted: it was published again to data_queue before" in output) == (0, True)
    code, output, _ = stage.command("replay", letter, "--to", OTHER, "--by", "bob")
    assert (code, "replayed by bob" in output) == (0, True)
    assert (bench.messages(), bench.messages(OTHER)) == ([], []), "it was published, to where the first said"
    assert stage.store.get(letter).target == QUEUE


def test_many_replays_at_once_publish_once(stage: Stage, bench: Bench) -> None:
    letter = bench.bury()
    drain(stage)
    done: list[bool] = []

    def replay() -> None:
        done.append(desk(stage).replay(letter)[0])

    threads = [threading.Thread(target=replay) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 5 + [True]
    assert len(bench.messages()) == 1


def test_replay_into_another_queue_stays_there(stage: Stage, bench: Bench) -> None:
    letter = bench.bury()
    drain(stage)
    assert stage.command("replay", letter, "--to", OTHER)[0] == 0
    (message,) = bench.messages(OTHER)
    assert bench.messages() == []
    assert message["properties"]["delivery_info"]["routing_key"] == OTHER, "where a retry goes"


def test_letters_are_chosen_by_queue_task_reason_and_time(stage: Stage, bench: Bench) -> None:
    rejected, late = bench.bury(), bench.bury("delivery-limit")
    elsewhere = bench.bury(queue=OTHER, name="shop.pull")
    drain(stage)
    drain(stage, queue=OTHER)

    def ids(*arguments: str) -> set[str]:
        return {letter["id"] for letter in stage.listed(*arguments)}

    assert ids() == {rejected, late, elsewhere}
    assert ids("--queue", OTHER) == ids("--task", "shop.pull") == {elsewhere}
    assert ids("--reason", "delivery-limit") == {late}
    assert ids("--since", "5m", "--queue", QUEUE) == {rejected, late}
    assert ids("--until", "2026-01-01T00:00") == ids("--until", "1h") == set()
    text = stage.command("list", "--reason", "delivery-limit")[1]
    assert text.splitlines()[0].split() == ["id", "died", "queue", "reason", "state", "task", "exception"]
    assert len(text.splitlines()) == 2


def test_a_dry_run_changes_nothing_and_discarding_is_noted(stage: Stage, bench: Bench) -> None:
    one, two = bench.bury(), bench.bury("failed")
    drain(stage)
    for command in ("replay", "discard"):
        code, output, _ = stage.command(command, "--queue", QUEUE, "--dry-run")
        assert (code, output.count("would be")) == (0, 2)
    assert [letter["state"] for letter in stage.listed()] == ["open"] * 2
    assert bench.messages() == []
    code, output, _ = stage.command("discard", "--reason", "failed", "--by", "ada")
    assert (code, output) == (0, f"{two} {TASK}[{stage.store.get(two).task_id}]: discarded\n")
    assert "nothing to do: discarded by ada" in stage.command("discard", two)[1]
    assert [letter["id"] for letter in stage.listed()] == [one]
    assert stage.command("replay", two)[0] == 0, "it was put aside by mistake"
    assert len(bench.messages()) == 1


def test_a_dry_run_says_what_the_real_one_does(stage: Stage, bench: Bench) -> None:
    begun, replayed, discarded = (bench.bury() for _ in range(3))
    drain(stage)
    stage.store.put(replace(stage.store.get(begun), id="unreadable", payload=b"nonsense"))
    stage.store.move(begun, ["open"], Handling("replaying", 1, "bob", OTHER))
    assert stage.command("replay", replayed)[0] == 0
    assert stage.command("discard", discarded)[0] == 0

    def said(*command: str) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
        return stage.command(*command, "--dry-run"), stage.command(*command)

    for command in (
        ("replay", replayed),
        ("replay", "unreadable"),
        ("replay", "nothing"),
        ("discard", discarded),
        ("discard", replayed),
        ("discard", "nothing"),
    ):
        dry, real = said(*command)
        assert dry == real, command
    for letter, target in ((begun, QUEUE), (discarded, OTHER)):
        (code, output, errors), real = said("replay", letter, "--to", target)
        assert "would be published again to sync_queue" in output
        assert (code, output.replace("would be published", "published"), errors) == real


def test_a_letter_of_a_queue_that_is_gone_is_replayed_into_another_only(stage: Stage, bench: Bench) -> None:
    letter = bench.bury()
    drain(stage)
    gone = replace(stage.store.get(letter), id="gone", queue="import_queue")
    stage.store.put(gone)
    stage.store.put(replace(gone, id="begun", state="replaying", target="import_queue"))
    for dry in ((), ("--dry-run",)):
        code, output, errors = stage.command("replay", "gone", *dry)
        assert (code, output) == (1, "")
        assert errors.startswith(
            "gone: cannot be replayed: nobody serves the queue import_queue; name another one with --to: "
        )
        code, output, errors = stage.command("replay", "begun", *dry)
        assert (code, output) == (1, "")
        assert errors.startswith("begun: cannot be replayed: nobody serves the queue import_queue; name another one")
    assert not bench.broker.exists(bench.broker.keys("import_queue"))
    assert stage.store.get("gone").state == "open", "it still waits for somebody"
    for name in ("gone", "begun"):
        assert stage.command("replay", name, "--to", QUEUE)[0] == 0
        assert (stage.store.get(name).state, stage.store.get(name).target) == ("replayed", QUEUE)
        assert len(bench.messages()) == 1


def test_nothing_is_handled_by_mistake(stage: Stage) -> None:
    for command in ("replay", "discard"):
        code, _, errors = stage.command(command)
        assert (code, f"{command} what? Name letters" in errors) == (2, True)
    assert stage.command("show", "nothing") == (1, "", "nothing: there is no such letter\n")
    code, _, errors = stage.command("list", "--since", "yesterday")
    assert (code, "'yesterday' is neither 90m" in errors) == (2, True)
    code, _, errors = stage.command("list", FLEET_LETTERS_FILE="")
    assert (code, errors.startswith("FLEET_LETTERS_TABLE or FLEET_LETTERS_FILE")) == (2, True)
    assert stage.command("list", FLEET_LETTERS_FILE="/no/where")[0] == 1


def test_show_reads_json_and_never_pickle(stage: Stage, bench: Bench, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "harm",)

    letters = [bench.bury(), bench.bury(args=(Harmful(),), serializer="pickle"), bench.bury(compression="gzip")]
    drain(stage)
    code, output, _ = stage.command("show", *letters)
    assert code == 0
    assert "arguments   [[7], {}, " in output
    assert "bytes of application/x-python-serialize" in output
    assert "bytes of application/json, application/x-gzip" in output
    document = json.loads(stage.command("show", "--json", letters[0])[1])
    assert (document["body"][0], document["message"]["headers"]["task"]) == ([7], TASK)
    assert stage.command("replay", letters[1])[0] == 0, "it is published again unread"
    assert not (tmp_path / "harm").exists()


def test_a_worker_whose_drainer_has_ended_is_unhealthy(stage: Stage) -> None:
    worker = stage.worker(FLEET_QUEUES="dead_letter", FLEET_TASK_MODULES="tests.deadletters.ended")
    assert worker.ask("/health/live") == (200, "ok\n")
    Path(worker.variables["TMPDIR"], "end").touch()
    worker.wait_for_answer("/health/live", 503, "the thread that drains the dead lists is gone")
    assert not worker.healthy()


def test_the_dead_letter_worker_drains_what_tasks_leave(stage: Stage) -> None:
    stage.worker(FLEET_QUEUES=f"{QUEUE},dead_letter")
    sent = stage.send("fail", "reason").id

    def stored() -> list[Summary]:
        return list(stage.store.find(Selection()))

    (letter,) = eventually(stored, "the letter is stored")
    assert (letter.task_id, letter.reason, letter.exception) == (sent, "failed", "ValueError('no reason')")
    page = stage.command("show", letter.id)[1]
    assert 'raise ValueError(f"no {secret}")' in page
    eventually(lambda: stage.dead() == [], "then it leaves the dead list")
    assert stage.command("replay", letter.id)[0] == 0
    again = eventually(stored, "it fails again, and is another letter")
    assert (again[0].id != letter.id, again[0].task_id) == (True, sent)
