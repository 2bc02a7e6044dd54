"""Results on a cluster of their own: each user stays on its side, and one that is full does not stop the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from redis import exceptions

from scripts.localcluster import LocalCluster
from service.app import create_app
from service.fleet import BROKER_ACCESS_STRING, RESULT_ACCESS_STRING
from service.rediscluster import BrokerInspector, QueueStats
from service.settings import Settings
from service.startup.waiting import wait_for_everything
from service.why.facts import gather
from tests.conftest import unbroken_cluster
from tests.service import kept_tasks
from tests.service.running import Container, container, environment

TASKS = kept_tasks.__name__
#: Seconds that anything may take on a busy machine; a result is offered for 30.
PATIENCE = 180.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def eventually(condition: Callable[[], Any], what: str) -> Any:
    ends = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < ends, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.05)
    return value


@contextmanager
def full(cluster: LocalCluster) -> Iterator[Callable[[], int]]:
    """The memory of all nodes is full; yields how often something was refused because of that."""

    def refused() -> int:
        infos = [dict(node.admin.info("errorstats")) for node in cluster.nodes]
        return sum(int(info.get("errorstat_OOM", {"count": 0})["count"]) for info in infos)

    before = refused()
    for node in cluster.nodes:
        node.admin.config_set("maxmemory", 1)
    try:
        yield lambda: refused() - before
    finally:
        for node in cluster.nodes:
            node.admin.config_set("maxmemory", 0)


@dataclass
class Stage:
    """A worker between two clusters."""

    broker: LocalCluster
    results: LocalCluster
    settings: Settings
    app: Celery
    worker: Container
    directory: Path

    def send(self, task: str, *numbers: int) -> dict[int, Any]:
        return {number: self.app.send_task(f"{TASKS}.{task}", [number, str(self.directory)]) for number in numbers}

    def ran(self) -> list[int]:
        ledger = self.directory / "ran"
        return sorted(int(line) for line in ledger.read_text().split()) if ledger.exists() else []

    def queue(self) -> QueueStats:
        inspector = BrokerInspector(self.app.conf.broker_url, self.app.conf.broker_transport_options)
        try:
            return inspector.stats("celery")
        finally:
            inspector.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("two")
    with (
        unbroken_cluster(username="workers", access_string=BROKER_ACCESS_STRING) as broker,
        unbroken_cluster(username="results", access_string=RESULT_ACCESS_STRING) as results,
    ):
        settings = Settings(
            redis_host="127.0.0.1",
            redis_port=broker.primaries[0].port,
            redis_username=broker.username,
            redis_password=SecretStr(broker.password),
            result_redis_host="127.0.0.1",
            result_redis_port=results.primaries[0].port,
            result_redis_username=results.username,
            result_redis_password=SecretStr(results.password),
        )
        variables = environment(
            broker,
            directory,
            FLEET_RESULT_REDIS_HOST="127.0.0.1",
            FLEET_RESULT_REDIS_PORT=str(results.primaries[0].port),
            FLEET_RESULT_REDIS_USERNAME=results.username,
            FLEET_RESULT_REDIS_PASSWORD=results.password,
            FLEET_TASK_MODULES=TASKS,
            FLEET_QUEUES="celery",
            FLEET_CONCURRENCY="4",
        )
        wait_for_everything(settings)
        app = create_app(settings)
        with container("worker", variables, directory) as worker:
            eventually(worker.healthy, "the worker is healthy")
            yield Stage(broker, results, settings, app, worker, directory)
        app.close()


def keys(cluster: LocalCluster) -> set[str]:
    return {key for node in cluster.primaries for key in node.admin.scan_iter("*")}


def test_results_are_there_and_messages_here(stage: Stage) -> None:
    sent = stage.send("note", 1, 2, 3)
    assert {number: result.get(timeout=PATIENCE) for number, result in sent.items()} == {1: 2, 2: 4, 3: 6}
    assert {key.split(":")[0] for key in keys(stage.broker)} == {"broker"}
    assert {key.split(":")[0] for key in keys(stage.results)} == {"result"}
    facts = gather(stage.app, stage.settings, sent[1].id)
    assert facts.ended is not None
    assert facts.ended.state == "SUCCESS"
    assert facts.unasked == {}


def test_each_user_may_do_nothing_on_the_others_keys(stage: Stage) -> None:
    transport: Any = stage.app.connection().transport
    backend: Any = stage.app.backend
    broker, results = transport.session.broker.cluster, backend.client.cluster
    with pytest.raises(exceptions.NoPermissionError):
        broker.once("result:{x}", "GET", "result:{x}")
    with pytest.raises(exceptions.NoPermissionError):
        results.once("broker:{x}", "GET", "broker:{x}")
    with pytest.raises(exceptions.NoPermissionError):
        broker.once("broker:{x}", "SPUBLISH", "result:{x}", "x")


def test_results_that_find_no_room_wait_and_arrive(stage: Stage) -> None:
    with full(stage.results) as refused:
        sent = stage.send("note", 11, 12)
        eventually(lambda: refused() > 2, "results were refused")
    assert {number: result.get(timeout=PATIENCE) for number, result in sent.items()} == {11: 22, 12: 24}


def test_a_full_cluster_of_results_stops_no_task_and_loses_their_results(stage: Stage) -> None:
    before, numbers = stage.ran(), list(range(20, 60))
    with full(stage.results):
        sent = stage.send("note", *numbers)
        # Each process waits for room once, and then offers each result once.
        eventually(lambda: stage.ran() == sorted([*before, *numbers]), "all have run, once each")
        eventually(lambda: (stage.queue().depth, stage.queue().leased) == (0, 0), "all are acknowledged")
        eventually(stage.worker.healthy, "the container's check passes")
    assert stage.queue().dead == 0
    log = stage.worker.log.read_text()
    for result in sent.values():
        assert f"result of {TASKS}.note[{result.id}] is lost" in log
        assert result.state == "PENDING"
    # What comes later is stored again.
    later = stage.send("note", *range(60, 64))
    assert {number: result.get(timeout=PATIENCE) for number, result in later.items()} == {n: 2 * n for n in later}


def test_a_part_of_a_chord_that_cannot_be_counted_is_dead(stage: Stage) -> None:
    held = stage.directory / "chord"
    held.mkdir()
    parts = [stage.app.signature(f"{TASKS}.hold", [number, str(held)]) for number in (1, 2)]
    chord(parts, app=stage.app)(stage.app.signature(f"{TASKS}.total"))
    eventually(lambda: all((held / f"held-{number}").exists() for number in (1, 2)), "both parts run")
    with full(stage.results):
        (held / "let-go").touch()
        eventually(lambda: stage.queue().dead == 2, "both are dead")
        eventually(stage.worker.healthy, "the container's check passes")
        impatient = create_app(stage.settings)
        impatient.conf.result_backend_transport_options["retry_deadline"] = 1
        with pytest.raises(exceptions.OutOfMemoryError):
            chord(parts, app=impatient)(impatient.signature(f"{TASKS}.total"))
    assert stage.queue().leased == 0


def test_a_full_broker_stops_no_result(stage: Stage) -> None:
    sent = stage.send("hold", 1, 2)
    eventually(lambda: all((stage.directory / f"held-{number}").exists() for number in sent), "both run")
    impatient = create_app(stage.settings)
    impatient.conf.broker_transport_options["retry_deadline"] = 1
    with full(stage.broker):
        with pytest.raises((exceptions.OutOfMemoryError, OperationalError)):
            impatient.send_task(f"{TASKS}.note", [70, str(stage.directory)])
        (stage.directory / "let-go").touch()
        assert {number: result.get(timeout=PATIENCE) for number, result in sent.items()} == {1: 2, 2: 4}
        eventually(lambda: stage.queue().leased == 0, "both are acknowledged")
    impatient.close()
    again = stage.send("note", 71)
    assert again[71].get(timeout=PATIENCE) == 142
    assert 70 not in stage.ran()
