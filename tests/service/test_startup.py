"""The wait before a worker starts: what counts as ready, the one deadline, and what is said."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import product
from pathlib import Path

import pytest
from dns import rcode, resolver
from dns.message import from_wire, make_response
from pydantic import SecretStr

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector
from service.settings import Settings
from service.startup.address import address_problem, shown
from service.startup.dependencies import HopelessError, NotReadyError, look
from service.startup.redis import look_at_cluster
from service.startup.waiting import StartupError, looks_of, wait, wait_for_everything
from service.worker import EXIT_SIGTERM, EXIT_STARTUP, arguments
from tests.conftest import ClusterFactory
from tests.service.mongo import mongo_stub
from tests.service.running import client, container, environment

#: Seconds: of a look that is answered, and of one that is not.
LOOK, NO_LOOK = 30.0, 2.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.rpartition("/")[2]))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def settings_of(cluster: LocalCluster, **differs: object) -> Settings:
    values: dict[str, object] = {
        "redis_host": "127.0.0.1",
        "redis_port": cluster.primaries[0].port,
        "redis_username": cluster.username,
        "redis_password": SecretStr(cluster.password),
        "startup_timeout": 60,
    }
    return Settings(**(values | differs))  # type: ignore[arg-type]


def reason(url: str, kind: type[Exception] = NotReadyError, timeout: float = LOOK) -> str:
    with pytest.raises(kind) as caught:
        look(url, timeout)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://db:6379", "the scheme must be one of tcp://, http://"),
        ("db:5432", "the scheme must be one of"),
        ("tcp://db", "expected tcp://host:port"),
        ("tcp://db:5432/x", "expected tcp://host:port"),
        ("tcp://db:99999", "a port must be a number"),
        ("http:///health", "names no host"),
        ("mongodb://user:secret@", "names no host"),
        ("mongodb://user:secret@a,,b", "names no host"),
        ("mongodb://user:secret", "a port must be a number"),
        ("https://user:secret/", "a port must be a number"),
        ("https://user:[secret]@a", "brackets are for an IPv6 host"),
        ("https://user:secret\N{FULLWIDTH QUESTION MARK}@a", "brackets are for an IPv6 host"),
    ],
)
def test_an_address_that_is_not_understood_is_explained(url: str, said: str) -> None:
    problem = address_problem(url)
    assert problem is not None
    assert said in problem
    assert "secret" not in problem


def test_addresses_that_are_understood() -> None:
    replica_sets = (
        "mongodb://u:p@a:1,b:2/x?replicaSet=rs0",
        "mongodb://[::1]:1,b",
        "mongodb+srv://u:a%2Fb@a.example/x",
    )
    for url in ("tcp://db:5432", "http://a/health?x=1", "https://a:8443", *replica_sets):
        assert address_problem(url) is None


def test_an_address_is_shown_without_what_is_secret() -> None:
    assert shown("mongodb://u:secret@a:1,b:2/x?replicaSet=rs0") == "mongodb://a:1,b:2"
    assert shown("https://u:secret@a/health?token=secret") == "https://a/health"


@pytest.mark.parametrize("sign", list("/?#@:,;&=%[]\\ \t\uff1f"))
def test_no_part_of_a_password_is_shown_whatever_is_in_it(sign: str) -> None:
    for scheme, password in product(
        ("tcp", "http", "https", "mongodb", "mongodb+srv"),
        (f"Secret{sign}rest", f"1{sign}rest", f"Secret@x{sign}rest", f"{sign}Secret"),
    ):
        url = f"{scheme}://app:{password}@db.example:27017/"
        for text in (shown(url), address_problem(url) or ""):
            assert not {part for part in ("Secret", "rest", "app") if part in text}, (url, text)


@pytest.mark.parametrize("sign", ["/", "?", "#"])
def test_a_password_that_ends_the_address_early_is_refused(sign: str) -> None:
    with pytest.raises(
        ValueError, match=r"address 1: an @ behind a /, \? or #: in a user or password write these as %2F"
    ):
        Settings(wait_for=(f"mongodb://app:Secret{sign}rest@db.example:27017/x?replicaSet=rs",))


def test_the_setting_names_a_wrong_address_by_its_place() -> None:
    assert Settings(wait_for="tcp://a:1 http://b").wait_for == ("tcp://a:1", "http://b")
    with pytest.raises(ValueError, match="address 2: expected tcp://host:port") as caught:
        Settings(wait_for=("http://u:secret@a", "tcp://u:secret@b"))
    assert "secret" not in str(caught.value).replace("input_value", "").split("[type=")[0]


def test_tcp(listener: socket.socket) -> None:
    look(f"tcp://127.0.0.1:{listener.getsockname()[1]}", LOOK)
    assert reason(f"tcp://127.0.0.1:{free_port()}") == "Connection refused"


def test_http(pages: str) -> None:
    look(f"http://{pages}/204", LOOK)
    assert reason(f"http://{pages}/503") == "it answers with status 503"
    assert reason(f"http://{pages}/404") == "it answers with status 404"
    assert reason(f"http://u:secret@127.0.0.1:{free_port()}/") == "Connection refused"


def test_https_with_a_certificate_that_nobody_trusts(tls_cluster: LocalCluster) -> None:
    # Any TLS server will do.
    said = reason(f"https://127.0.0.1:{tls_cluster.primaries[0].port}/")
    assert "SSL" in said or "certificate" in said.lower()


def test_a_replica_set_is_ready_when_it_has_a_primary() -> None:
    with mongo_stub() as mongo:
        url = f"mongodb://{mongo.address}/?replicaSet=rs0"
        look(url, LOOK)
        mongo.say(setName="other")
        assert "rs0" in reason(url, timeout=NO_LOOK)
        mongo.say(isWritablePrimary=False, ismaster=False, secondary=True, primary=None)
        assert "primary" in reason(url, timeout=NO_LOOK).lower()
        mongo.say(setName=None, hosts=None, primary=None)
        assert reason(f"mongodb://{mongo.address}", HopelessError) == "it is a single server and no replica set"
    assert "Connection refused" in reason(url, timeout=NO_LOOK)


def test_a_replica_set_that_is_addressed_wrongly() -> None:
    said = reason("mongodb://127.0.0.1:1,127.0.0.1:2/?directConnection=true", HopelessError)
    assert "Cannot specify multiple hosts" in said


@contextmanager
def name_server(answer: rcode.Rcode | None) -> Iterator[resolver.Resolver]:
    """A resolver whose only server answers every question so, or not at all."""

    def serve() -> None:
        while True:
            asked, client = server.recvfrom(4096)
            if not asked:
                return
            if answer is not None:
                reply = make_response(from_wire(asked))
                reply.set_rcode(answer)
                server.sendto(reply.to_wire(), client)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        asking = resolver.Resolver(configure=False)
        asking.nameservers, asking.port = ["127.0.0.1"], server.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asking
        finally:
            server.sendto(b"", server.getsockname())
            thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (rcode.NXDOMAIN, "The DNS query name does not exist: _mongodb._tcp.db.shop.example."),
        (rcode.NOERROR, "The DNS response does not contain an answer"),
        (rcode.SERVFAIL, "SERVFAIL"),
        (None, "no name server answered in time"),
    ],
)
def test_a_replica_set_whose_name_is_not_known_yet(
    answer: rcode.Rcode | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with name_server(answer) as asking:
        monkeypatch.setattr(resolver, "default_resolver", asking)
        assert said in reason("mongodb+srv://u:secret@db.shop.example/x", timeout=NO_LOOK if answer is None else LOOK)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb+srv://127.0.0.1/x", "is not a valid hostname for 'mongodb+srv://'"),
        ("mongodb+srv://db..example/x", "A DNS label is empty"),
        ("mongodb+srv://a.example,b.example/x", "must include one, and only one, hostname"),
    ],
)
def test_a_name_of_a_replica_set_that_is_none(url: str, said: str) -> None:
    assert said in reason(url, HopelessError)


def test_what_appears_during_the_wait_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port, missing = free_port(), threading.Event()
    servers = []

    def appears(timeout: float) -> None:
        try:
            look(f"tcp://127.0.0.1:{port}", timeout)
        except NotReadyError:
            if not missing.is_set():
                missing.set()
                servers.append(socket.create_server(("127.0.0.1", port)))
            raise

    wait({"the database": appears}, 60)
    servers[0].close()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "waiting for the database: Connection refused"
    assert said[-1].startswith("the database is ready after")


def hangs(_timeout: float) -> None:
    threading.Event().wait()


def refused(_timeout: float) -> None:
    raise NotReadyError("Connection refused")


def hopeless(_timeout: float) -> None:
    raise HopelessError("wrong password")


def broken(_timeout: float) -> None:
    raise RuntimeError("a bug")


def test_one_deadline_for_all_and_a_reason_for_each() -> None:
    started = time.monotonic()
    with pytest.raises(StartupError) as caught:
        wait({"a": hangs, "b": refused, "c": lambda _: None}, 3)
    assert time.monotonic() - started >= 3
    assert caught.value.problems == [
        "a was not ready within 3 s: no answer yet",
        "b was not ready within 3 s: Connection refused",
    ]


@pytest.mark.parametrize(
    ("one", "said"),
    [(hopeless, "x cannot be used: wrong password"), (broken, "x cannot be used: RuntimeError: a bug")],
)
def test_what_waiting_cannot_cure_ends_it_at_once(one: Callable[[float], None], said: str) -> None:
    with pytest.raises(StartupError, match=said):
        # This test has not so much time.
        wait({"x": one, "y": hangs}, 3600)


def test_a_complete_cluster_is_ready(cluster: LocalCluster, tls_cluster: LocalCluster) -> None:
    wait_for_everything(settings_of(cluster, result_redis_host="127.0.0.1", result_redis_port=cluster.nodes[-1].port))
    wait_for_everything(settings_of(tls_cluster, redis_tls=True, redis_ca_file=tls_cluster.ca_file))


def test_wrong_credentials_are_said_at_once_and_without_them(cluster: LocalCluster) -> None:
    with pytest.raises(StartupError, match="refused the credentials") as caught:
        # This test has not so much time.
        wait_for_everything(settings_of(cluster, redis_password=SecretStr("hunter2"), startup_timeout=3600))
    assert "hunter2" not in str(caught.value)


def test_missing_permissions_are_said(cluster: LocalCluster) -> None:
    with pytest.raises(HopelessError, match="permission"):
        look_at_cluster(settings_of(cluster).broker_url, {}, ["other:key"], LOOK)


@pytest.mark.slow
def test_a_cluster_with_a_shard_missing_is_not_ready_until_it_is_back(fresh_cluster: ClusterFactory) -> None:
    cluster = fresh_cluster(appendonly=True)
    settings = settings_of(cluster)
    (one,) = looks_of(settings).values()
    one(LOOK)
    lost = cluster.primaries[-1]
    shard = (*cluster.replicas_of(lost), lost)
    for node in shard:
        cluster.kill(node)
    with pytest.raises(NotReadyError, match=f"{lost.port}|served by nobody|CLUSTERDOWN"):
        one(LOOK)
    for node in shard:
        cluster.restart(node)
    cluster.wait_until_stable()
    one(LOOK)


def test_a_worker_without_what_it_needs_ends_with_the_reasons(cluster: LocalCluster, tmp_path: Path) -> None:
    values = environment(cluster, tmp_path, FLEET_WAIT_FOR=f"tcp://127.0.0.1:{free_port()}", FLEET_STARTUP_TIMEOUT="6")
    with container("worker", values, tmp_path) as worker:
        assert worker.process.wait(60) == EXIT_STARTUP
        assert not worker.healthy()
    log = worker.log.read_text()
    assert "was not ready within 6 s: Connection refused" in log
    assert "the Redis Cluster at 127.0.0.1" in log
    assert "Traceback" not in log


def test_a_worker_without_its_broker_ends_with_the_reason(tmp_path: Path) -> None:
    values = {"FLEET_REDIS_PORT": "1", "FLEET_STARTUP_TIMEOUT": "4", "TMPDIR": str(tmp_path)}
    with container("worker", {**os.environ, **values}, tmp_path) as worker:
        assert worker.process.wait(60) == EXIT_STARTUP
    assert "no node of the cluster answered" in worker.log.read_text()


def test_sigterm_ends_a_worker_that_waits(cluster: LocalCluster, tmp_path: Path) -> None:
    values = environment(cluster, tmp_path, FLEET_WAIT_FOR=f"tcp://127.0.0.1:{free_port()}")
    with container("worker", values, tmp_path) as worker:
        deadline = time.monotonic() + 120
        while "waiting for tcp" not in worker.log.read_text():
            assert time.monotonic() < deadline, worker.log.read_text()
            time.sleep(0.05)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(60) == EXIT_SIGTERM


def test_purge_at_start_is_off_and_refused_in_prod() -> None:
    assert "--purge" not in arguments(Settings())
    assert "--purge" in arguments(Settings(purge_on_start=True))
    with pytest.raises(ValueError, match="refused in prod"):
        Settings(environment="prod", purge_on_start=True)


@pytest.mark.slow
def test_purge_at_start_empties_the_workers_queues(cluster: LocalCluster, tmp_path: Path) -> None:
    app = client(cluster)
    app.send_task("service.tasks.data.count_tokens", args=("x",), queue="data_queue")
    app.send_task("service.tasks.default.digest_text", args=("x",), queue="monitoring_queue")
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    before = inspector.stats("data_queue")
    values = environment(cluster, tmp_path, FLEET_QUEUES="data_queue", FLEET_PURGE_ON_START="true")
    with container("worker", values, tmp_path) as worker:
        worker.wait_healthy()
        purged, other = inspector.stats("data_queue"), inspector.stats("monitoring_queue")
        assert worker.stop(60) == 0
    inspector.close()
    app.control.purge()
    assert (before.depth, purged.depth) == (1, 0)
    assert (purged.leased, purged.dead, purged.acked) == (before.leased, before.dead, before.acked)
    assert other.depth == 1
