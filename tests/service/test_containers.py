"""The commands of the containers against a real cluster."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from celery import chord
from moto.server import ThreadedMotoServer

from scripts.demo.cloudwatch import CREDENTIALS, maximum
from scripts.localcluster import LocalCluster
from service import fleet
from service.rediscluster import BrokerInspector
from service.steps import EXIT_COLD
from service.work import tokens
from tests.rediscluster.faultkit import eventually
from tests.service.running import client, container, environment, wait_for_file

HELD = "tests.service.held_task"
GEVENT, THREADS, EVENTLET, SOLO = (
    pytest.param(pool, marks=pytest.mark.slow) for pool in ("gevent", "threads", "eventlet", "solo")
)


@pytest.mark.parametrize("pool", ["prefork", GEVENT, THREADS])
def test_a_worker_serves_every_queue(cluster: LocalCluster, tmp_path: Path, pool: str) -> None:
    app = client(cluster)
    # Nobody listens there, and no other test counts failures of its circuit breaker.
    with socket.create_server(("127.0.0.1", 0)) as place:
        nowhere = f"http://127.0.0.1:{place.getsockname()[1]}/"
    files = sorted(str(path) for path in Path("service").glob("*.py"))
    with container("worker", environment(cluster, tmp_path, FLEET_POOL=pool), tmp_path) as worker:
        worker.wait_healthy()
        send = app.send_task
        event = send("service.tasks.high_priority.check_event", args=("{}", "0"))
        digest = send("service.tasks.default.digest_text", args=("one two",))
        probe = send("service.tasks.monitoring.probe_host", ignore_result=False)
        page = send("service.tasks.sync.fetch_page", args=(nowhere,))
        count = app.signature("service.tasks.data.count_tokens")
        merge = app.signature("service.tasks.workflow.merge_statistics")
        total = chord([count.clone((file,)) for file in files], merge)()
        assert event.get(timeout=60) == {"valid": False, "kind": "", "reason": "checksum differs"}
        assert digest.get(timeout=60)["words"] == 2
        assert probe.get(timeout=60)["cpus"] >= 1
        with pytest.raises(Exception, match="Connection refused"):
            page.get(timeout=60)
        assert total.get(timeout=60) == tokens.merge(tokens.count_tokens(Path(file)) for file in files)
        assert worker.stop(60) == 0
    assert "one two" not in worker.log.read_text()
    assert cluster.password not in worker.log.read_text()


@pytest.mark.parametrize("pool", ["prefork", GEVENT, THREADS, EVENTLET, SOLO])
def test_sigterm_lets_a_running_task_end(cluster: LocalCluster, tmp_path: Path, pool: str) -> None:
    app = client(cluster)
    values = environment(
        cluster, tmp_path, FLEET_POOL=pool, FLEET_TASK_MODULES=HELD, FLEET_QUEUES="celery", HELD_GRACE="60"
    )
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        running = app.send_task(f"{HELD}.hold", args=(str(tmp_path),))
        wait_for_file(tmp_path / "started")
        worker.process.terminate()
        (tmp_path / "release").touch()
        # Long before the grace is over: nothing runs any more.
        assert worker.process.wait(60) == 0
    assert running.get(timeout=30) == "ended"


@pytest.mark.parametrize("pool", ["prefork", "gevent", THREADS, EVENTLET, SOLO])
def test_a_task_that_outlasts_the_grace_is_given_back(cluster: LocalCluster, tmp_path: Path, pool: str) -> None:
    app = client(cluster)
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    values = environment(
        cluster, tmp_path, FLEET_POOL=pool, FLEET_TASK_MODULES=HELD, FLEET_QUEUES="data_queue", HELD_GRACE="2"
    )
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        app.send_task(f"{HELD}.hold", args=(str(tmp_path),), queue="data_queue")
        wait_for_file(tmp_path / "started")
        assert worker.stop(60) == EXIT_COLD
    stats = inspector.stats("data_queue")
    inspector.close()
    app.control.purge()
    assert (stats.depth, stats.leased) == (1, 0)
    assert "the grace of 2 s is over: 1 tasks go back" in worker.log.read_text()


def test_the_monitor_publishes_and_stops_at_once(cluster: LocalCluster, tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    app = client(cluster)
    try:
        url = f"http://{host}:{port}"
        app.send_task("service.tasks.dead_letter.drain_letters")
        values = environment(
            cluster, tmp_path, FLEET_STACK="shop", AWS_ENDPOINT_URL=url, AWS_DEFAULT_REGION="eu-west-1", **CREDENTIALS
        )
        with container("monitor", values, tmp_path) as monitor:
            monitor.wait_healthy()
            dimensions = {fleet.DIMENSION_STACK: "shop", fleet.DIMENSION_QUEUE: "dead_letter"}
            metric = (url, fleet.METRIC_NAMESPACE, fleet.METRIC_DEPTH, dimensions, "eu-west-1")
            eventually(lambda: maximum(*metric) == 1, "the depth is published")
            assert monitor.stop(20) == 0
    finally:
        server.stop()
        app.control.purge()
