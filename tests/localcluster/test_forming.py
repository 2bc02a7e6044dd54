from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from scripts.localcluster import LocalCluster, LocalClusterError
from scripts.localcluster.ports import BUS_OFFSET, HOST, free_ports
from scripts.localcluster.topology import SLOTS, parse, view


def worker(cluster: LocalCluster) -> redis.RedisCluster:
    return redis.RedisCluster(
        host=HOST,
        port=cluster.nodes[0].port,
        username=cluster.username,
        password=cluster.password,
        ssl=cluster.ca_file is not None,
        ssl_ca_certs=cluster.ca_file and str(cluster.ca_file),
    )


def client(port: int, **options: Any) -> redis.Redis:
    return redis.Redis(HOST, port, retry=Retry(NoBackoff(), 0), **options)


def test_three_primaries_serve_all_slots_each_with_a_replica(cluster: LocalCluster) -> None:
    assert len(cluster.primaries) == len(cluster.replicas) == 3
    assert all(len(cluster.replicas_of(primary)) == 1 for primary in cluster.primaries)
    ranges = [span for member in view(cluster.nodes[5]) for span in member.slots]
    assert sum(last - first + 1 for first, last in ranges) == SLOTS


def test_worker_may_use_its_keys(cluster: LocalCluster) -> None:
    with worker(cluster) as connection:
        for key in ("broker:a", "broker:b", "result:c"):
            assert connection.set(key, "1", ex=60)
            assert cluster.primary_for(key).admin.get(key) == "1"


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET maxmemory",
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "ACL LIST",
        "SHUTDOWN",
        "DEBUG SLEEP 0",
        "CLUSTER RESET",
        "FUNCTION FLUSH",
        "SCRIPT FLUSH",
        "GET other",
        "PUBLISH other x",
    ],
)
def test_worker_may_do_nothing_else(cluster: LocalCluster, command: str) -> None:
    node = cluster.primary_for("other")
    with (
        client(node.port, username=cluster.username, password=cluster.password) as connection,
        pytest.raises(NoPermissionError),
    ):
        connection.execute_command(*command.split())


def test_default_user_is_off(cluster: LocalCluster) -> None:
    with client(cluster.nodes[0].port) as anonymous, pytest.raises(redis.AuthenticationError):
        anonymous.ping()


def test_tls_serves_clients_that_trust_its_authority(tls_cluster: LocalCluster) -> None:
    assert tls_cluster.url.startswith("redisclusters://worker:")
    with worker(tls_cluster) as connection:
        assert connection.set("broker:tls", "1", ex=60)
    port = tls_cluster.nodes[0].port
    with client(port) as plain, pytest.raises(redis.ConnectionError):
        plain.ping()
    with client(port, ssl=True) as suspicious, pytest.raises(redis.ConnectionError, match="certificate"):
        suspicious.ping()


def test_url_escapes_credentials(cluster: LocalCluster) -> None:
    described = LocalCluster(username="a/b", password="p@s:s")
    described.nodes = cluster.nodes
    assert described.url.startswith("rediscluster://a%2Fb:p%40s%3As@127.0.0.1:")


@pytest.mark.parametrize("offset", [0, BUS_OFFSET])
def test_taken_port_is_named(offset: int) -> None:
    ports = free_ports(6)
    with socket.socket() as squatter:
        squatter.bind((HOST, ports[2] + offset))
        squatter.listen()
        with pytest.raises(LocalClusterError, match=f"Port {ports[2] + offset} .*is taken: stop"):
            LocalCluster(ports).start()


@pytest.mark.parametrize(
    ("ports", "message"),
    [(range(7000, 7003), "needs 6 different ports, not 3"), (range(60_000, 60_006), "Port 60000 is out of range")],
)
def test_unusable_ports(ports: range, message: str) -> None:
    with pytest.raises(LocalClusterError, match=message):
        LocalCluster(ports).start()


def test_missing_server_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalClusterError, match="redis-server is not installed"):
        LocalCluster().start()


def test_server_that_refuses_its_configuration_is_reported_and_nothing_stays(tmp_path: Path) -> None:
    cluster = LocalCluster(access_string="on +nonsense", directory=tmp_path)
    with pytest.raises(LocalClusterError, match=rf"ended with status 1.* logs are in {tmp_path}"):
        cluster.start()
    assert not cluster.nodes
    assert "nonsense" in "".join(log.read_text() for log in tmp_path.glob("node-*/redis.log"))


def test_cluster_that_does_not_form_is_reported_and_nothing_stays(tmp_path: Path) -> None:
    cluster = LocalCluster(start_timeout=0.5, directory=tmp_path)
    with pytest.raises(LocalClusterError, match=rf"did not .* within .* s: .*[Pp]ort .* logs are in {tmp_path}"):
        cluster.start()
    assert not cluster.nodes


def test_used_directory_is_refused(tmp_path: Path) -> None:
    ports = free_ports(6)
    (tmp_path / f"node-{ports[0]}").mkdir()
    with pytest.raises(LocalClusterError, match="holds an earlier cluster"):
        LocalCluster(ports, directory=tmp_path).start()


def test_stop_ends_all_servers_and_removes_their_files() -> None:
    cluster = LocalCluster()
    cluster.start()
    directory, processes = cluster.directory, [psutil.Process(node.pid) for node in cluster.nodes]
    assert directory is not None
    cluster.freeze(cluster.nodes[0])
    cluster.stop()
    cluster.stop()
    assert not any(process.is_running() for process in processes)
    assert not directory.exists()


def test_start_in_a_thread_outlives_the_thread() -> None:
    with LocalCluster() as cluster:
        node = cluster.replicas[0]
        thread = threading.Thread(target=cluster.restart, args=[node])
        thread.start()
        thread.join()
        cluster.wait_until_stable()
        assert node.alive


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' parent death signal")
@pytest.mark.parametrize(
    "end", [signal.SIGKILL, *(pytest.param(end, marks=pytest.mark.slow) for end in (signal.SIGTERM, signal.SIGINT))]
)
def test_servers_end_with_the_program(end: signal.Signals) -> None:
    command = [sys.executable, "-m", "scripts.localcluster"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("rediscluster://worker:")
        servers = psutil.Process(program.pid).children()
        os.kill(program.pid, end)
        _gone, left = psutil.wait_procs(servers, timeout=30)
    assert len(servers) == 6
    assert not left


def test_topology_of_a_migrating_and_a_failed_node() -> None:
    text = (
        "aa 127.0.0.1:10001@20001 myself,master - 0 0 7 connected 0-10 12 [13->-bb]\n"
        "bb 127.0.0.1:10002@20002,host slave,fail aa 1 2 3 disconnected\n"
    )
    first, second = parse(text)
    assert (first.port, first.epoch, first.slots) == (10001, 7, ((0, 10), (12, 12)))
    assert first.serves(12)
    assert not first.serves(11)
    assert second.primary_id == "aa"
    assert "fail" in second.flags


def test_ports_that_somebody_takes_first_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = free_ports(6)
    choices = iter([chosen, free_ports(6)])
    monkeypatch.setattr("scripts.localcluster.running.free_ports", lambda _: next(choices))
    with socket.create_server(("127.0.0.1", chosen[-1])), LocalCluster() as cluster:
        assert chosen[-1] not in {node.port for node in cluster.nodes}
        assert len(cluster.nodes) == len(list(cluster.nodes[0].directory.parent.glob("node-*"))) == 6
