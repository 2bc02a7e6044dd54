"""`python -m service.why`: where a task is or how it ended, on a real cluster with a real worker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from redis import Redis

from scripts.localcluster import LocalCluster
from service.deadletters.letter import Letter
from service.deadletters.sqlite import SqliteStore
from service.rediscluster import Finder, Search, Sighting
from service.rediscluster.broker import Broker
from service.rediscluster.find import CHUNK, CHUNK_BYTES
from service.rediscluster.keys import QueueKeys
from service.rediscluster.options import parse
from service.why.__main__ import main
from service.why.facts import Ended, Facts
from service.why.words import duration, lines
from tests.conftest import ClusterFactory
from tests.service.running import Container, container, environment, wait_for_file

TASKS = "tests.service.why_tasks"
#: Served by the worker of these tests; the other queues are served by nobody.
SERVED = "celery"
UNSERVED = "data_queue"


@pytest.fixture(scope="module")
def worker(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    directory = tmp_path_factory.mktemp("worker")
    values = environment(
        cluster,
        directory,
        FLEET_TASK_MODULES=TASKS,
        FLEET_QUEUES=SERVED,
        FLEET_CONCURRENCY="2",
        FLEET_LOG_LEVEL="DEBUG",
    )
    with container("worker", values, directory) as started:
        started.wait_healthy()
        yield started


@pytest.fixture
def why(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Ask; returns what is said and the exit status."""
    for name, value in environment(cluster, tmp_path).items():
        monkeypatch.setenv(name, value)

    def ask(*arguments: str) -> tuple[str, int]:
        capsys.readouterr()
        status = main(list(arguments))
        return capsys.readouterr().out, status

    return ask


def eventually(ask: Any, task_id: str, said: str, within: float = 60.0) -> str:
    deadline = time.monotonic() + within
    while said not in (answer := ask(task_id)[0]):
        assert time.monotonic() < deadline, f"{said!r} is not said: {answer}"
    return str(answer)


def send(app: Celery, task: str, *args: Any, queue: str = SERVED, **options: Any) -> str:
    return str(app.send_task(f"{TASKS}.{task}", args, queue=queue, **options).id)


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_a_waiting_task_has_its_place_and_priority(app: Celery, why: Any) -> None:
    first, second, urgent = (send(app, "succeed", 1, queue=UNSERVED, priority=p) for p in (4, 4, 9))
    try:
        assert "number 1 of 3, priority 9" in why(urgent)[0]
        assert "number 2 of 3, priority 4" in why(first)[0]
        answer, status = why(second)
        assert f"waiting in {UNSERVED}, number 3 of 3, priority 4, since 20" in answer
        assert f"task {second} ({TASKS}.succeed)" in answer
        assert status == 0
    finally:
        app.control.purge()


def test_a_delayed_task_says_until_when(app: Celery, why: Any) -> None:
    task = send(app, "succeed", 1, queue=UNSERVED, countdown=3600, expires=7200)
    try:
        answer, status = why(task)
        assert f"delayed in {UNSERVED} until 20" in answer
        assert "(in 59 min)" in answer
        assert "expires at 20" in answer
        assert status == 0
    finally:
        app.control.purge()


def test_an_unknown_task_is_explained(why: Any) -> None:
    answer, status = why(str(uuid4()))
    assert status == 1
    assert "was never published here" in answer
    assert "ignore_result" in answer


# -- with a worker -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
def test_a_held_task_names_its_worker(app: Celery, why: Any, tmp_path: Path) -> None:
    before = time.time()
    task = send(app, "hold", str(tmp_path))
    wait_for_file(tmp_path / "held")
    [message] = json.loads(why(task, "--json")[0])["messages"]
    answer, status = why(task)
    (tmp_path / "let-go").touch()
    [[name]] = app.control.ping(timeout=30, limit=1) or []
    assert message["holder"] == name
    assert name.startswith(f"{SERVED}-")
    assert before - 2 < message["since"] < time.time() + 2
    assert message["until"] > message["seen"]
    assert f"held by {name}, from {SERVED} since 20" in answer
    assert "delivery 1" in answer
    assert status == 0
    assert "SUCCESS" in eventually(why, task, f"on {name}")


@pytest.mark.usefixtures("worker")
def test_a_result_is_shown_only_if_asked_for(app: Celery, why: Any) -> None:
    task = send(app, "succeed", 21)
    assert "42" not in eventually(why, task, "result: SUCCESS at 20").partition("result:")[2].partition(" on ")[2]
    answer, status = why(task, "--result")
    assert "returned: 42" in answer
    assert status == 0
    assert json.loads(why(task, "--json")[0])["ended"]["result"] is None
    assert json.loads(why(task, "--json", "--result")[0])["ended"]["result"] == 42


@pytest.mark.usefixtures("worker")
def test_a_failed_task_is_dead_with_its_reason(app: Celery, why: Any) -> None:
    task = send(app, "fail", "hunter2")
    answer = eventually(why, task, f"dead in {SERVED} since 20")
    assert "result: FAILURE at 20" in answer
    assert answer.count("cannot, after 13 letters") == 2
    assert "hunter2" not in answer + why(task, "--json")[0]


@pytest.mark.usefixtures("worker")
def test_a_task_that_is_retried_is_delayed_and_then_done(app: Celery, why: Any) -> None:
    task = send(app, "retry_once", 3600)
    answer = eventually(why, task, "result: RETRY")
    answer = eventually(why, task, "retry 1")
    assert f"delayed in {SERVED} until 20" in answer
    app.control.purge()
    done = send(app, "retry_once", 0)
    assert "in retry 1" in eventually(why, done, "result: SUCCESS")


@pytest.mark.usefixtures("worker")
def test_a_task_without_a_retry_left_says_what_it_raised_at_last(app: Celery, why: Any) -> None:
    answer = eventually(why, send(app, "exhaust"), "result: FAILURE at 20")
    [result] = [line for line in answer.splitlines() if "result: FAILURE" in line]
    assert "ConnectionError: never" in result


@pytest.mark.usefixtures("worker")
def test_a_rejected_task_says_so(app: Celery, why: Any) -> None:
    task = send(app, "reject")
    assert "rejected (its task rejected it)" in eventually(why, task, f"dead in {SERVED}")


@pytest.mark.usefixtures("worker")
def test_a_task_that_completed_once_says_so(app: Celery, why: Any) -> None:
    task = send(app, "complete")
    assert f"completed once in {SERVED} at 20" in eventually(why, task, "result: SUCCESS")


@pytest.mark.usefixtures("worker")
def test_an_unknown_task_is_delayed_with_its_returns(app: Celery, why: Any) -> None:
    task = send(app, "no_such_task")
    assert re.search(r"given back (once|\d+ times)", eventually(why, task, f"delayed in {SERVED}"))
    app.control.purge()


@pytest.mark.usefixtures("worker")
def test_a_revoked_task_says_so(app: Celery, why: Any) -> None:
    task = str(uuid4())
    app.control.revoke(task, reply=True, timeout=30, limit=1)
    send(app, "succeed", 1, task_id=task)
    eventually(why, task, "result: REVOKED")


@pytest.mark.usefixtures("worker")
def test_a_task_without_a_result_is_not_found_once_it_is_done(app: Celery, why: Any) -> None:
    task = send(app, "forget")
    eventually(why, task, "ignore_result")
    assert why(task)[1] == 1


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_runs_by_itself(cluster: LocalCluster, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.why", str(uuid4())]
    environ = environment(cluster, tmp_path)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "not found" in done.stdout


@pytest.mark.parametrize(
    ("variable", "value", "status", "said"),
    [
        ("FLEET_REDIS_PASSWORD", "wrong", 2, "refused the credentials"),
        ("FLEET_REDIS_PORT", "1", 1, "no node of the cluster answered"),
    ],
)
@pytest.mark.usefixtures("why")
def test_what_is_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    status: int,
    said: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["x"]) == status
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert said in told.err


# -- it disturbs nothing -----------------------------------------------------------------------------------------------


class Bench:
    """A queue of one's own."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.broker = Broker(parse(cluster.url))
        self.queue: QueueKeys = self.broker.keys(f"why-{uuid4().hex}")
        self.broker.declare(self.queue)
        self.server: Redis = cluster.admin(cluster.primary_for(self.queue.meta))
        self.finder = Finder(cluster.url)

    def publish(self, task_id: str, *, body: str = "[]", **options: Any) -> None:
        head = {"headers": {"id": task_id, "task": "t", "root_id": "root"}, "properties": {"correlation_id": task_id}}
        payload = f"{json.dumps(head, separators=(',', ':'))}\n{body}".encode()
        self.broker.publish(self.queue, payload, message_id=uuid4().hex, lane=uuid4().hex, number=1, **options)

    def find(self, task_id: str) -> Search:
        return self.finder.find([self.queue.queue], task_id)

    def one(self, task_id: str) -> Sighting:
        [sighting] = self.find(task_id).sightings
        return sighting

    def content(self) -> dict[str, Any]:
        """Every key as it is, and when it goes away."""
        every = (*self.queue.every, self.queue.wake, self.queue.temporary)
        return {key: (self.server.dump(key), self.server.execute_command("PEXPIRETIME", key)) for key in every}

    @contextmanager
    def requests(self) -> Iterator[list[str]]:
        """Fills with what was asked of this queue; the shard's other queues have clients too."""
        seen: list[str] = []
        with self.server.monitor() as monitor:
            yield seen
            self.server.echo(marker := uuid4().hex)
            for command in monitor.listen():
                if marker in command["command"]:
                    return
                if command["client_type"] != "lua" and self.queue.queue in command["command"]:
                    seen.append(command["command"])


@pytest.fixture
def bench(cluster: LocalCluster) -> Iterator[Bench]:
    bench = Bench(cluster)
    yield bench
    bench.broker.drop(bench.queue)
    bench.broker.cluster.close()
    bench.finder.close()


def test_it_changes_nothing(bench: Bench) -> None:
    in_an_hour = int(time.time() * 1000) + 3_600_000
    for number in range(4):
        bench.publish(f"task-{number}")
    bench.publish("later", due_ms=in_an_hour)
    held, dead = bench.broker.settle(bench.queue, "0123456789ab@worker", 2, 1).deliveries
    bench.broker.bury(bench.queue, [dead.ack.lease], "rejected")
    bench.broker.touch(bench.queue, 3_600_000)
    bench.server.delete(bench.queue.wake)
    before = bench.content()
    places = {name: bench.one(name).place for name in ("task-0", "task-1", "task-2", "task-3", "later")}
    assert places == {
        "task-0": "inflight", "task-1": "dead", "task-2": "ready", "task-3": "ready", "later": "delayed",
    }  # fmt: skip
    assert bench.find("nowhere").sightings == []
    assert bench.content() == before
    assert bench.broker.renew(bench.queue, [held.ack.lease]) == []


def test_a_long_queue_is_read_in_small_pieces(bench: Bench) -> None:
    messages = 2 * CHUNK + 500
    for number in range(messages):
        bench.publish(f"task-{number}")
    # Once for the server to know the scripts.
    bench.find("task-0")
    for number in (0, CHUNK - 1, CHUNK, messages - 1):
        with bench.requests() as requests:
            sighting = bench.one(f"task-{number}")
        assert (sighting.position, sighting.size) == (number, messages)
        # One for the inbox, three for what is ready, one for each other look, and one for completions.
        assert len(requests) == 1 + 3 + 4 + 1, requests


def test_large_messages_are_read_in_smaller_numbers(bench: Bench) -> None:
    for number in range(90):
        bench.publish(f"task-{number}", body="x" * (CHUNK_BYTES // 30))
    with bench.requests() as requests:
        assert bench.one("task-89").position == 89
    assert len(requests) >= 1 + 3 + 4 + 1, requests


def test_messages_that_are_due_at_once_are_all_seen(bench: Bench) -> None:
    """They have one score, in which the walk must find its place again."""
    due = int(time.time() * 1000) + 3_600_000
    messages = CHUNK + 500
    for number in range(messages):
        bench.publish(f"task-{number}", due_ms=due)
    places = {bench.one(f"task-{number}").position for number in range(0, messages, 150)}
    assert len(places) == len(range(0, messages, 150))


def test_others_that_name_the_task_are_not_it(bench: Bench) -> None:
    bench.publish("child", body='{"id":"root","correlation_id":"root"}')
    bench.publish("root-2")
    assert bench.find("root").sightings == []
    assert bench.one("child").headers["task"] == "t"


@pytest.mark.parametrize("task_id", ['with "quotes"', "ümläut", "back\\slash", "%d.*[a-z]"])
def test_a_task_id_may_be_anything(bench: Bench, task_id: str) -> None:
    bench.publish(task_id)
    assert bench.one(task_id).place == "ready"


def test_losses_and_returns_are_told(bench: Bench) -> None:
    bench.publish("task", priority=7)
    for lost in (True, False):
        [delivery] = bench.broker.settle(bench.queue, "0123456789ab@w:1", 1, 1 + lost).deliveries
        bench.broker.release(bench.queue, [delivery.ack.lease], lost=lost)
    sighting = bench.one("task")
    assert (sighting.priority, sighting.losses, sighting.returns) == (7, 1, 2)
    bench.broker.settle(bench.queue, "0123456789ab@w:1", 1, 9)
    assert bench.one("task").holder == "w:1"


def test_what_an_earlier_version_holds_has_no_time(bench: Bench) -> None:
    bench.publish("task")
    [delivery] = bench.broker.settle(bench.queue, "session", 1, 1).deliveries
    score, _, message = str(bench.server.hget(bench.queue.inflight, delivery.ack.lease)).split(" ", 2)
    bench.server.hset(bench.queue.inflight, delivery.ack.lease, f"{score} {message}")
    assert (bench.one("task").since, bench.one("task").holder) == (0, "")
    bench.broker.release(bench.queue, [delivery.ack.lease], lost=False)
    assert bench.one("task").place == "ready"


def test_a_queue_that_is_not_there_has_nothing(bench: Bench) -> None:
    search = bench.finder.find([f"why-{uuid4().hex}"], "task")
    assert (search.sightings, search.unasked) == ([], {})


def test_a_split_queue_is_searched_in_all_parts(cluster: LocalCluster) -> None:
    queue = f"why-{uuid4().hex}"
    finder = Finder(cluster.url, {"partitions": {queue: 4}})
    broker = Broker(parse(cluster.url, {"partitions": {queue: 4}}))
    bench = Bench(cluster)
    bench.broker.drop(bench.queue)
    for number in range(8):
        bench.queue = broker.part_of(queue, str(number))
        broker.declare(bench.queue)
        bench.publish(str(number))
    found = {number: finder.find([queue], str(number)).sightings for number in range(8)}
    assert {number: len(sightings) for number, sightings in found.items()} == dict.fromkeys(range(8), 1)
    assert len({sightings[0].part for sightings in found.values()}) > 1
    for part in broker.parts(queue):
        broker.drop(part)
    for cluster_client in (finder, bench.finder, broker.cluster, bench.broker.cluster):
        cluster_client.close()


def test_a_shard_that_is_away_is_said_and_the_others_are_searched(fresh_cluster: ClusterFactory) -> None:
    cluster = fresh_cluster(node_timeout_ms=60_000)
    bench = Bench(cluster)
    bench.publish("task")
    elsewhere = next(
        name
        for name in (f"elsewhere-{number}" for number in range(100))
        if cluster.primary_for(bench.broker.keys(name).meta) != cluster.primary_for(bench.queue.meta)
    )
    cluster.kill(cluster.primary_for(bench.broker.keys(elsewhere).meta))
    search = bench.finder.find([elsewhere, bench.queue.queue], "task")
    assert [sighting.queue for sighting in search.sightings] == [bench.queue.queue]
    assert list(search.unasked) == [elsewhere]
    assert "was not served within 2 s" in search.unasked[elsewhere]
    bench.broker.cluster.close()
    bench.finder.close()


def test_a_letter_in_the_store_is_found(why: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, task = tmp_path / "letters.db", str(uuid4())
    letter = Letter(id="m", queue=UNSERVED, task="shop.pay", task_id=task, reason="failed", exception="E()", died=1000)
    SqliteStore(file, 30_000).put(letter)
    monkeypatch.setenv("FLEET_LETTERS_FILE", str(file))
    answer, status = why(task)
    assert f"dead letter m, died in {UNSERVED} at 1970-01-01 00:00:01Z: failed: E()" in answer
    assert f"task {task} (shop.pay)" in answer
    assert status == 0
    monkeypatch.setenv("FLEET_LETTERS_FILE", str(tmp_path))
    answer, status = why(task)
    assert "not asked: dead letters: " in answer
    assert status == 1


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0 s"), (8, "8 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"), (1_000_000, "11 d")]
)
def test_time_spans(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def sighting(**values: Any) -> Sighting:
    known: dict[str, Any] = {
        "message_id": "m", "place": "ready", "queue": "q", "part": 0, "node": "n:1", "seen": 1000.0, "position": 0,
        "size": 1, "priority": 5, "ready": 900.0, "losses": 0, "returns": 0, "headers": {},
    }  # fmt: skip
    return Sighting(**known | values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"part": 3}, "waiting in q part 3, number 1 of 1"),
        ({"losses": 2, "returns": 3}, "given back 3 times; lost or requeued 2 times, 5 are allowed"),
        ({"headers": {"expires": "1970-01-01T00:15:00"}}, "expired 100 s ago, so it will not run"),
        ({"place": "delayed", "due": 990.0}, "(due, the next look of a worker takes it up)"),
        (
            {"place": "inflight", "holder": "", "since": 0.0, "until": 1060.0},
            "held by an unknown worker, from q, delivery",
        ),
        (
            {"place": "inflight", "holder": "w", "since": 1.0, "until": 990.0},
            "its lease ended 10 s ago: another worker",
        ),
        ({"place": "dead", "reason": "delivery-limit", "died": 1.0}, "its workers died with it"),
    ],
)
def test_sightings_in_words(values: dict[str, Any], said: str) -> None:
    facts = Facts("id", Search([sighting(**values)]), delivery_limit=5)
    assert said in "\n".join(lines(facts))


def test_what_could_not_be_asked_is_said() -> None:
    told = "\n".join(lines(Facts("id", Search(), unasked={"celery": "silent", "results": "away"})))
    assert "not asked: queue celery: silent" in told
    assert "not asked: results: away" in told
    assert "not found where it could be looked for" in told
    assert "never published" not in told
    assert "result: STARTED" in "\n".join(lines(Facts("id", Search(), Ended("STARTED"))))
