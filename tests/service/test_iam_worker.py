"""A worker on a cluster that knows no passwords, only tokens that end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from celery import Celery
from celery.result import AsyncResult

from scripts.localcluster import LocalCluster
from service import iam
from service.app import create_app
from service.rediscluster import BrokerInspector
from service.settings import Settings
from service.startup.waiting import StartupError, wait_for_everything
from service.why.facts import gather
from tests.conftest import ClusterFactory
from tests.service.iam_nodes import AWS_VARIABLES, IamNodes, iam_nodes
from tests.service.running import environment

GROUP, USER = "fleet", "fleet-workers"
#: Seconds for which a token and a connection are used; both end well within what the nodes accept.
TOKEN, CONNECTION = 3.0, 4.0
#: Seconds that anything may take on a busy machine.
PATIENCE = 300.0


@pytest.fixture
def tokens(fresh_cluster: ClusterFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LocalCluster, IamNodes]]:
    """A cluster with TLS that takes tokens only; this process signs them, too."""
    for name, value in AWS_VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(iam, "USED_SECONDS", TOKEN)
    monkeypatch.setattr(iam, "CONNECTION_SECONDS", CONNECTION)
    iam.iam_credentials.cache_clear()
    cluster = fresh_cluster(tls=True, username=USER)
    with iam_nodes(cluster, GROUP) as nodes:
        yield cluster, nodes


def settings_of(cluster: LocalCluster, group: str = GROUP, startup_timeout: int = 60) -> Settings:
    return Settings(
        redis_host="127.0.0.1",
        redis_port=cluster.primaries[0].port,
        redis_tls=True,
        redis_ca_file=cluster.ca_file,
        redis_auth="iam",
        redis_username=USER,
        redis_group=group,
        startup_timeout=startup_timeout,
    )


@contextmanager
def worker(cluster: LocalCluster, directory: Path, pool: str) -> Iterator[Path]:
    """A worker of its own process; its log."""
    variables = environment(cluster, directory)
    del variables["FLEET_REDIS_PASSWORD"]
    variables |= AWS_VARIABLES | {
        "FLEET_REDIS_USERNAME": USER,
        "FLEET_REDIS_AUTH": "iam",
        "FLEET_REDIS_GROUP": GROUP,
        "FLEET_REDIS_TLS": "true",
        "FLEET_REDIS_CA_FILE": str(cluster.ca_file),
        "FLEET_TASK_MODULES": "tests.service.iam_app",
        "FLEET_LEASE": "10",
        "TEST_TOKEN_SECONDS": str(TOKEN),
        "TEST_CONNECTION_SECONDS": str(CONNECTION),
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.service.iam_app", "worker", "--pool", pool]
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--queues", "celery", "--concurrency", "2", "--without-gossip", "--loglevel", "INFO"],
            env=variables,
            stdout=output,
            stderr=output,
        )
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.timeout(1200)
@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_worker_goes_on_while_tokens_end_and_connections_are_cut(
    tokens: tuple[LocalCluster, IamNodes], tmp_path: Path, pool: str
) -> None:
    cluster, nodes = tokens
    app: Celery = create_app(settings_of(cluster))
    sent: dict[int, AsyncResult[int]] = {}
    left: list[tuple[int, str, str]] = []

    def send_until(done: Callable[[], bool], what: str) -> None:
        """Give the worker something to do all the time: its connections are in use."""
        ends = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < ends, f"{what}: not within {PATIENCE:g} s, {left}\n{log.read_text()}"
            number = len(sent)
            sent[number] = app.send_task("tests.service.iam_app.double", [number])
            time.sleep(0.1)

    def others(known: set[tuple[int, str, str]]) -> bool:
        left[:] = known & nodes.connections(CONNECTION)
        return not left

    with worker(cluster, tmp_path, pool) as log:
        send_until(lambda: len(sent) > 3 and sent[0].ready(), "a first result")
        for turn in ("first", "second"):
            before = nodes.connections(CONNECTION)
            assert before
            # Each new connection logs in with a token that is still taken; those of the start no longer are. An old one
            # may live on in a process that has nothing to do.
            send_until(partial(others, before), f"other connections, {turn} time")
        nodes.cut()
        send_until(lambda: sent[len(sent) - 5].ready(), "results after the cut")
        assert {number: result.get(timeout=PATIENCE) for number, result in sent.items()} == {
            number: 2 * number for number in sent
        }
        facts = gather(app, settings_of(cluster), sent[0].id)
        assert facts.ended is not None
        assert facts.ended.state == "SUCCESS"
    text = log.read_text()
    assert "Unrecoverable" not in text
    assert "X-Amz-Signature" not in text, "a token is a password"
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    state = inspector.stats("celery")
    inspector.close()
    assert (state.depth, state.leased, state.dead) == (0, 0, 0)
    app.close()


def test_start_up_waits_for_iam_and_says_why(tokens: tuple[LocalCluster, IamNodes]) -> None:
    cluster, _ = tokens
    wait_for_everything(settings_of(cluster))
    # Signed for another group, as a role is that may not connect: the permission may still be on its way.
    with pytest.raises(StartupError, match=r"not ready within 10 s: .*refused the credentials"):
        wait_for_everything(settings_of(cluster, group="other", startup_timeout=10))
