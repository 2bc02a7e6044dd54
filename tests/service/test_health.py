"""The worker's endpoint: what it says of a worker that is well, busy, stuck, ill or leaving."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from scripts.localcluster import LocalCluster
from service import fleet, heartbeat, limits
from service.health.judge import POOL_PATIENCE, LeaseSigns, Signs, judge
from service.health.sampler import KEY, Sampler
from service.health.server import Answer, Server
from service.rediscluster import BrokerInspector
from service.rediscluster.cluster import Cluster
from service.rediscluster.options import parse
from service.settings import Settings
from tests.conftest import ClusterFactory
from tests.rediscluster.faultkit import eventually
from tests.service import sick
from tests.service.running import Container, client, container, environment, wait_for_file

SICK = "tests.service.sick"
PATIENCE = 5
NOW = 10_000.0

WELL = Signs(patience=150, task_limit=3600, tasks_in_loop=False, turned_at=NOW - 1)


def worker_environment(cluster: LocalCluster, directory: Path, **variables: str) -> dict[str, str]:
    values = {"FLEET_TASK_MODULES": f"service.tasks,{SICK}", "FLEET_HEALTH_PATIENCE": str(PATIENCE)} | variables
    return environment(cluster, directory, **values)


def send(app: Celery, name: str, queue: str) -> Any:
    return app.send_task(f"{SICK}.{name}", queue=queue)


@pytest.mark.parametrize(
    ("signs", "leases", "active", "broken", "waiting"),
    [
        (WELL, LeaseSigns(), 0, "", ""),
        (replace(WELL, lost_at=NOW - 100), LeaseSigns(), 0, "", "no connection to the broker for 100 s"),
        (replace(WELL, lost_at=NOW - 151), LeaseSigns(), 0, "no connection to the broker for 151 s", ""),
        (replace(WELL, turned_at=NOW - 100), LeaseSigns(), 0, "", ""),
        (replace(WELL, turned_at=NOW - 151), LeaseSigns(), 4, "the main loop has not turned for 151 s", ""),
        (replace(WELL, turned_at=NOW - 3000, tasks_in_loop=True), LeaseSigns(), 1, "", ""),
        (replace(WELL, turned_at=NOW - 151, tasks_in_loop=True), LeaseSigns(), 0, "the main loop", ""),
        (replace(WELL, turned_at=NOW - 3751, tasks_in_loop=True), LeaseSigns(), 1, "the main loop", ""),
        # Reconnecting stops the loop.
        (replace(WELL, turned_at=NOW - 151, lost_at=NOW - 100), LeaseSigns(), 0, "", "no connection"),
        (replace(WELL, pool_dead_at=NOW - POOL_PATIENCE + 1), LeaseSigns(), 0, "", "no process or thread of the pool"),
        (replace(WELL, pool_dead_at=NOW - POOL_PATIENCE - 1), LeaseSigns(), 0, "no process or thread of the pool", ""),
        (replace(WELL, threads_gone=("drains",)), LeaseSigns(), 0, "the thread that drains is gone", ""),
        (replace(WELL, threads_gone=("drains",), stopping=True), LeaseSigns(), 0, "", "it is shutting down"),
        (WELL, LeaseSigns(dead=True), 1, "the lease thread is gone", ""),
        (WELL, LeaseSigns(overdue=59, lease=60), 1, "", ""),
        (WELL, LeaseSigns(overdue=61, lease=60), 1, "the lease thread stands still", ""),
        (WELL, LeaseSigns(failing=20), 1, "", "leases cannot be renewed for 20 s"),
        (WELL, LeaseSigns(failing=151), 1, "leases cannot be renewed for 151 s", ""),
        (WELL, LeaseSigns(silent=151), 0, "no answer from the broker for 151 s", ""),
        (WELL, LeaseSigns(shards_down=1), 0, "", "1 shards of the cluster do not serve this worker"),
        (replace(WELL, turned_at=NOW - 151, stopping=True), LeaseSigns(dead=True), 1, "", "it is shutting down"),
    ],
)
def test_the_judgement(signs: Signs, leases: LeaseSigns, active: int, broken: str, waiting: str) -> None:
    verdict = judge(signs, leases, active, NOW)
    assert verdict.alive == (not broken)
    assert verdict.ready == (not broken and not waiting)
    assert broken in "".join(verdict.broken)
    assert waiting in "".join(verdict.waiting)
    assert len(verdict.reasons) == bool(broken) + bool(waiting)


def assert_stays_well(worker: Container, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        # Whatever else a busy machine makes it say.
        assert "the main loop has not turned" not in worker.ask("/health/live")[1]
        time.sleep(0.2)


@pytest.mark.parametrize(("pool", "task"), [("solo", "hold"), pytest.param("gevent", "spin", marks=pytest.mark.slow)])
def test_a_worker_that_is_busy_with_a_long_task_is_healthy(
    cluster: LocalCluster, tmp_path: Path, pool: str, task: str
) -> None:
    app = client(cluster)
    values = worker_environment(cluster, tmp_path, FLEET_POOL=pool, FLEET_QUEUES="data_queue", FLEET_LEASE="5")
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        busy = send(app, task, "data_queue")
        wait_for_file(tmp_path / "started")
        assert_stays_well(worker, PATIENCE + 1.5)
        eventually(worker.healthy, "the container's check passes")
        assert json.loads(worker.ask("/health/celery")[1])["worker"]["active_tasks"] == 1
        (tmp_path / "release").touch()
        busy.get(timeout=60)
        assert worker.stop(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_stands_still_is_unhealthy(cluster: LocalCluster, tmp_path: Path, pool: str) -> None:
    values = worker_environment(cluster, tmp_path, FLEET_POOL=pool, FLEET_QUEUES="data_queue")
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        worker.process.send_signal(sick.BLOCK)
        worker.wait_for_answer("/health/live", 503, "the main loop has not turned for")
        assert not worker.healthy()
        (tmp_path / "release").touch()
        worker.wait_for_answer("/health/live", 200)
        worker.process.send_signal(sick.KILL_POOL)
        worker.wait_for_answer("/health/ready", 503, "no process or thread of the pool is alive")


def test_a_worker_whose_leases_nobody_renews_is_unhealthy(cluster: LocalCluster, tmp_path: Path) -> None:
    app = client(cluster)
    values = worker_environment(cluster, tmp_path, FLEET_QUEUES="data_queue")
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        held = send(app, "hold", "data_queue")
        wait_for_file(tmp_path / "started")
        worker.process.send_signal(sick.END_LEASES)
        worker.wait_for_answer("/health/live", 503, "the lease thread is gone")
        (tmp_path / "release").touch()
        held.get(timeout=60)
        inspector = BrokerInspector(url_of(cluster), {"key_prefix": fleet.BROKER_PREFIX})
        eventually(lambda: inspector.stats("data_queue").leased == 0, "the consumer itself acknowledges")
        inspector.close()
        # Killed: its pool processes live on for a moment, and must not hold its port.
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait(60)
        assert not worker.healthy()


@pytest.mark.slow
def test_a_worker_whose_broker_does_not_answer(fresh_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = fresh_cluster()
    app = client(cluster)
    values = worker_environment(cluster, tmp_path, FLEET_QUEUES="data_queue", FLEET_LEASE="5")
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        send(app, "hold", "data_queue")
        wait_for_file(tmp_path / "started")
        for node in cluster.nodes:
            cluster.freeze(node)
        worker.wait_for_answer("/health/ready", 503)
        worker.wait_for_answer("/health/live", 503, "for")
        for node in cluster.nodes:
            cluster.thaw(node)
        cluster.wait_until_stable()
        worker.wait_for_answer("/health/ready", 200)
        (tmp_path / "release").touch()


def test_a_worker_that_leaves_takes_no_work_and_is_not_replaced(cluster: LocalCluster, tmp_path: Path) -> None:
    app = client(cluster)
    with container("worker", worker_environment(cluster, tmp_path, FLEET_QUEUES="data_queue"), tmp_path) as worker:
        worker.wait_healthy()
        running = send(app, "hold", "data_queue")
        wait_for_file(tmp_path / "started")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_for_answer("/health/ready", 503, "it is shutting down")
        assert worker.ask("/health/live")[0] == 200
        eventually(worker.healthy, "the container's check passes")
        (tmp_path / "release").touch()
        running.get(timeout=60)
        assert worker.process.wait(60) == 0
        assert not worker.healthy()


def url_of(cluster: LocalCluster) -> str:
    return f"rediscluster://{cluster.username}:{cluster.password}@127.0.0.1:{cluster.primaries[0].port}"


def sampler(cluster: LocalCluster, worker: str, active: int) -> Sampler:
    return Sampler(url_of(cluster), {"key_prefix": fleet.BROKER_PREFIX}, worker, ["data_queue"], lambda: active)


def started(one: Sampler) -> Sampler:
    one.start()
    eventually(lambda: one.fleet is not None and one.lengths, "a sample")
    return one


def test_the_fleet_is_counted_without_a_broadcast(cluster: LocalCluster) -> None:
    # What other tests killed is remembered for a while.
    forget = Cluster(parse(url_of(cluster), {}))
    forget.call(KEY, "DEL", KEY)
    forget.close()
    first, second = started(sampler(cluster, "first", 3)), started(sampler(cluster, "second", 4))
    assert second.fleet == (2, 7)
    first.stop()
    third = started(sampler(cluster, "third", 0))
    eventually(lambda: third.fleet == (2, 4), "who has left is not counted")
    second.stop()
    third.stop()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def well(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A worker that nothing is wrong with."""
    directory = tmp_path_factory.mktemp("well")
    more = {"FLEET_HEALTH_PATIENCE": "150", "FLEET_POOL": "threads"}
    values = worker_environment(cluster, directory, FLEET_QUEUES="monitoring_queue", **more)
    with container("worker", values, directory) as worker:
        worker.wait_healthy()
        yield worker
        assert worker.stop(60) == 0


def test_the_report_on_the_fleet_and_the_worker(well: Container) -> None:
    report = json.loads(well.wait_for_answer("/health/celery", 200))
    eventually(lambda: json.loads(well.ask("/health/celery")[1])["workers"], "the fleet is counted")
    assert (report["healthy"], report["reasons"]) == (True, [])
    worker = report["worker"]
    assert (worker["queues"], worker["pool"], worker["active_tasks"]) == (["monitoring_queue"], "threads", 0)


def test_metrics(cluster: LocalCluster, well: Container) -> None:
    app = client(cluster)
    name = json.loads(well.ask("/health/celery")[1])["worker"]["name"]
    for _ in range(3):
        app.send_task("service.tasks.monitoring.probe_host")
    send(app, "fail_twice", "monitoring_queue")
    well.wait_for_answer("/metrics", 200, 'celery_tasks_total{status="failure"} 1.0')
    well.wait_for_answer("/metrics", 200, 'celery_tasks_total{status="success"} 3.0')
    # Looked at now and then.
    found = samples(well.wait_for_answer("/metrics", 200, 'celery_queue_length{queue_name="monitoring_queue"} 0.0'))

    def value(metric: str, task: str, **more: str) -> float:
        labels = {"name": task, "hostname": name, "queue_name": "monitoring_queue"} | more
        return found[metric, frozenset(labels.items())]

    probe, failing = "service.tasks.monitoring.probe_host", f"{SICK}.fail_twice"
    assert value("celery_task_received_total", probe) == 3
    assert value("celery_task_started_total", probe) == 3
    assert value("celery_task_succeeded_total", probe) == 3
    assert value("celery_task_runtime_count", probe) == 3
    assert value("celery_task_duration_seconds_bucket", probe, le="+Inf") == 3
    assert value("celery_task_duration_seconds_count", failing) == 2
    assert value("celery_task_retried_total", failing) == 1
    assert value("celery_task_failed_total", failing, exception="ValueError") == 1
    assert found["celery_tasks_total", frozenset({("status", "retry")})] == 1
    assert found["celery_worker_up", frozenset({("hostname", name)})] == 1
    assert found["celery_worker_tasks_active", frozenset({("hostname", name)})] == 0
    assert found["celery_transport_leases_lost_total", frozenset({("hostname", name)})] == 0


@pytest.mark.slow
def test_a_port_that_is_taken_ends_the_worker_with_the_reason(cluster: LocalCluster, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = worker_environment(cluster, tmp_path, FLEET_HEALTH_PORT=str(taken.getsockname()[1]))
        with container("worker", values, tmp_path) as worker:
            assert worker.process.wait(60) != 0
    assert f"FLEET_HEALTH_PORT={values['FLEET_HEALTH_PORT']}: Address already in use" in worker.log.read_text()


def test_the_endpoint_outlives_odd_clients(well: Container) -> None:
    for said in (b"", b"\0\0\r\n\r\n", b"GET\r\n\r\n", b"POST /metrics HTTP/1.1\r\n\r\n", b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", well.port), 5) as odd:
            odd.sendall(said)
    assert well.ask("/health/live") == (200, "ok\n")
    assert well.ask("/elsewhere")[0] == 404


@pytest.fixture
def server() -> Server:
    """An endpoint without a worker; its thread ends with the run."""
    made = Server("127.0.0.1", 0, lambda _: Answer(HTTPStatus.OK, "text/plain", "ok\n"))
    made.start()
    return made


def test_a_client_that_never_ends_its_request_is_sent_away(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"GET /health/live HTTP/1.0\r\nX-Slow: ")

        def sent_away() -> bool:
            if select.select([slow], [], [], 0.1)[0]:
                return True
            try:
                slow.send(b"a")
            except ConnectionError:
                return True
            return False

        eventually(sent_away, "the connection is closed")
    eventually(lambda: heartbeat.ask(server.port) is None, "it answers others")


def test_the_endpoint_outlives_a_lack_of_descriptors(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as waiting:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            waiting.connect(("127.0.0.1", server.port))
            eventually(lambda: "Too many open files" in caplog.text, "the connection is not accepted")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    eventually(lambda: heartbeat.ask(server.port) is None, "it answers others")


@pytest.mark.parametrize(
    ("pool", "names"),
    [
        ("prefork", []),
        ("gevent", ["FLEET_SOFT_TIME_LIMIT=3300", "FLEET_MAX_TASKS_PER_CHILD"]),
        ("threads", ["FLEET_SOFT_TIME_LIMIT", "FLEET_TIME_LIMIT=3600", "FLEET_MAX_TASKS_PER_CHILD"]),
        ("eventlet", ["FLEET_SOFT_TIME_LIMIT", "FLEET_TIME_LIMIT", "FLEET_MAX_TASKS_PER_CHILD"]),
        ("solo", ["FLEET_SOFT_TIME_LIMIT", "FLEET_TIME_LIMIT", "FLEET_MAX_TASKS_PER_CHILD", "FLEET_CONCURRENCY=2"]),
    ],
)
def test_limits_that_a_pool_does_not_keep_are_named(pool: Any, names: list[str]) -> None:
    sentences = limits.unkept(Settings(pool=pool))
    assert len(sentences) == len(names)
    for sentence, name in zip(sentences, names, strict=True):
        assert sentence.startswith(name)
        assert f"the {pool} pool" in sentence


def test_limits_of_tasks_that_a_pool_does_not_keep_are_named() -> None:
    app = Celery("limits", set_as_current=False)

    def nothing() -> None: ...

    app.task(name="shop.sync.pull", soft_time_limit=5, time_limit=9)(nothing)
    app.task(name="shop.data.count", soft_time_limit=5)(nothing)
    sentences = limits.unkept_of_tasks(app.tasks.values(), Settings(pool="gevent", queues=("sync_queue",)))
    assert sentences == ["task shop.sync.pull: soft_time_limit=5: the gevent pool does not keep soft limits"]
