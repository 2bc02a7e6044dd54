"""Flower as its container runs it, on a cluster and beside a real worker."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery

from scripts.localcluster import LocalCluster
from service import fleet
from service.flower.queues import Queues
from service.rediscluster.stats import QueueStats
from service.settings import EXIT_CONFIG
from tests.conftest import ClusterFactory, unbroken_cluster
from tests.rediscluster.faultkit import eventually
from tests.service.running import Container, client, container, environment

PASSWORD = "a-password-of-flower"
LOGIN = (fleet.FLOWER_USER, PASSWORD)


class Page:
    """Flower's page, with or without a login."""

    def __init__(self, process: Container, port: int) -> None:
        self.process = process
        self._root = f"http://127.0.0.1:{port}"

    def get(self, path: str, login: tuple[str, str] | None = LOGIN) -> requests.Response:
        return requests.get(f"{self._root}{path}", auth=login, timeout=60)

    def json(self, path: str) -> Any:
        answer = self.get(f"/flower/api/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str) -> requests.Response:
        return requests.post(f"{self._root}/flower/api/{path}", auth=LOGIN, timeout=60)


@contextmanager
def page(cluster: LocalCluster, directory: Path, **variables: str) -> Iterator[Page]:
    """Flower, healthy."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    directory.mkdir(exist_ok=True)
    values = {"FLEET_FLOWER_PASSWORD": PASSWORD, "FLEET_FLOWER_PORT": str(port), **variables}
    with container("flower", environment(cluster, directory, **values), directory) as process:
        process.wait_healthy()
        yield Page(process, port)


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[LocalCluster]:
    """Flower makes every worker of its cluster send events: others count what theirs send."""
    with unbroken_cluster() as started:
        yield started


@pytest.fixture(scope="module")
def producer(own_cluster: LocalCluster) -> Iterator[Celery]:
    app = client(own_cluster)
    yield app
    app.close()


@pytest.fixture(scope="module")
def flower(own_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page(own_cluster, tmp_path_factory.mktemp("flower")) as shown:
        yield shown
        assert shown.process.stop(60) == 0
    assert PASSWORD not in shown.process.log.read_text()
    assert own_cluster.password not in shown.process.log.read_text()


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/api/tasks", "/api/workers"])
def test_nobody_sees_it_without_the_login(flower: Page, path: str) -> None:
    assert flower.get(f"/flower{path}").status_code == 200
    assert flower.get(f"/flower{path}", login=None).status_code == 401
    assert flower.get(f"/flower{path}", login=(fleet.FLOWER_USER, "another-password")).status_code == 401
    assert flower.get(path).status_code == 404


def test_without_a_password_it_does_not_start(own_cluster: LocalCluster, tmp_path: Path) -> None:
    with container("flower", environment(own_cluster, tmp_path), tmp_path) as process:
        assert process.process.wait(60) == EXIT_CONFIG
    assert process.log.read_text().startswith("FLEET_FLOWER_PASSWORD: must be set")


def test_a_port_that_is_taken_ends_it_with_the_reason(own_cluster: LocalCluster, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        values = {"FLEET_FLOWER_PASSWORD": PASSWORD, "FLEET_FLOWER_PORT": port}
        with container("flower", environment(own_cluster, tmp_path, **values), tmp_path) as process:
            assert process.process.wait(60) == EXIT_CONFIG
    assert f"FLEET_FLOWER_PORT={port}: Address already in use" in process.log.read_text()


def test_every_queue_is_shown_with_its_length_also_without_a_worker(flower: Page, producer: Celery) -> None:
    for _ in range(3):
        producer.send_task("service.tasks.data.count_tokens", args=("x",), queue="data_queue")
    producer.send_task("service.tasks.data.count_tokens", args=("x",), queue="data_queue", countdown=600)
    lengths = {queue["name"]: queue for queue in flower.json("queues/length")["active_queues"]}
    assert list(lengths) == list(fleet.QUEUE_NAMES)
    assert lengths["data_queue"]["messages"] == 4
    assert lengths["celery"]["messages"] == 0
    shown = flower.get("/flower/broker").text
    assert 'id="data_queue"' in shown
    producer.control.purge()


def test_a_task_is_followed_and_its_secrets_are_not_shown(
    flower: Page, own_cluster: LocalCluster, producer: Celery, tmp_path: Path
) -> None:
    values = environment(own_cluster, tmp_path, FLEET_QUEUES="celery", FLEET_CONCURRENCY="1")
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        eventually(lambda: flower.json("workers?refresh=true"), "Flower knows the worker")
        text = f"password=hidden-word {own_cluster.password}"

        def followed() -> Any:
            # Workers send events once Flower has asked for them, which may be in the middle of a task.
            task = producer.send_task("service.tasks.default.digest_text", args=(text,), argsrepr=repr((text,)))
            task.get(timeout=60)
            heard = flower.json("tasks").get(task.id)
            return heard if heard and heard["name"] else None

        task = eventually(followed, "Flower hears of tasks")
        assert task["name"] == "service.tasks.default.digest_text"
        eventually(lambda: flower.json(f"task/info/{task['uuid']}")["state"] == "SUCCESS", "Flower heard of its end")
        for path in ("/flower/api/tasks", f"/flower/api/task/info/{task['uuid']}", f"/flower/task/{task['uuid']}"):
            said = flower.get(path).text
            assert "password=**" in said
            assert "hidden-word" not in said
            assert own_cluster.password not in said
        (name,) = flower.json("workers")
        worker_page = flower.get(f"/flower/worker/{name}").text
        assert name in worker_page
        assert own_cluster.password not in worker_page
        assert worker.stop(60) == 0


def test_a_result_is_shown_without_its_secrets(flower: Page, producer: Celery) -> None:
    producer.backend.store_result("one", {"password": "hidden-word", "said": "token=hidden-word"}, "SUCCESS")
    assert flower.json("task/result/one")["result"] == {"password": "**", "said": "token=**"}


def test_in_prod_it_only_shows(own_cluster: LocalCluster, flower: Page, tmp_path: Path) -> None:
    revoke, send = (
        "task/revoke/8f1c2f0e-0000-4000-8000-000000000000",
        "task/send-task/service.tasks.default.digest_text",
    )
    assert flower.post(revoke).status_code == 200
    with page(own_cluster, tmp_path / "prod", FLEET_ENVIRONMENT="prod") as shown:
        assert [shown.post(path).status_code for path in (revoke, send)] == [403, 403]
        assert shown.get("/flower/api/queues/length").status_code == 200


def test_it_starts_shows_and_ends_while_the_cluster_is_away(own_cluster: LocalCluster, tmp_path: Path) -> None:
    with page(own_cluster, tmp_path / "away", FLEET_REDIS_PORT="1") as shown:
        assert shown.json("queues/length")["active_queues"]
        said = "no events are heard, trying again"
        eventually(lambda: said in shown.process.log.read_text(), "Flower says that it is deaf")
        assert shown.process.stop(60) == 0


def test_a_queue_that_cannot_be_read_has_no_numbers() -> None:
    def read(name: str) -> QueueStats:
        if name == "celery":
            raise ConnectionError("its shard is away")
        return QueueStats(ready={10: 2, 1: 3}, delayed=4, due=1, leased=5)

    found = asyncio.run(Queues(read, ["data_queue", "celery"]).queues([]))
    assert found == [
        {"name": "data_queue", "messages": 14, "messages_ready": 6, "messages_unacknowledged": 5},
        {"name": "celery"},
    ]


@pytest.mark.slow
def test_it_hears_of_tasks_again_after_a_failover(fresh_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = fresh_cluster()
    app = client(cluster)
    (tmp_path / "worker").mkdir()
    values = environment(cluster, tmp_path / "worker", FLEET_QUEUES="celery", FLEET_CONCURRENCY="1")
    with container("worker", values, tmp_path) as worker, page(cluster, tmp_path / "flower") as shown:
        worker.wait_healthy()
        for failovers in range(4):
            if failovers:
                lost = cluster.primaries[0]
                cluster.kill(lost)
                cluster.wait_promoted(lost)
                cluster.restart(lost)
                cluster.wait_until_stable()

            def followed() -> bool:
                task = app.send_task("service.tasks.default.digest_text", args=("one",))
                task.get(timeout=60)
                return task.id in shown.json("tasks")

            eventually(followed, "Flower hears of tasks", within=60)
    app.close()
