"""What happens inside the nodes: clocks, passwords, append-only files, moves that are given up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from scripts.localcluster import LocalCluster
from scripts.localcluster.errors import LocalClusterError

FIRST, SECOND = "{queue}:a", "{queue}:b"
SLOT = key_slot(b"queue")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(appendonly=True) as started:
        yield started


def login(cluster: LocalCluster, password: str) -> redis.Redis:
    return redis.Redis(port=cluster.nodes[0].port, username=cluster.username, password=password)


def test_what_a_script_wrote_is_there_after_a_restart_of_all_nodes(cluster: LocalCluster) -> None:
    home = cluster.primary_for(FIRST)
    # Two writes: a transaction in the file, which Redis 7.0 reads with the permissions of the user "default".
    home.admin.eval("redis.call('SET', KEYS[1], 'x') redis.call('SET', KEYS[2], 'x')", 2, FIRST, SECOND)
    nodes = sorted(cluster.nodes, key=lambda node: node not in cluster.primaries)
    for node in nodes:
        cluster.kill(node)
    for node in nodes:
        cluster.restart(node)
    cluster.wait_until_stable()
    assert cluster.primary_for(FIRST).admin.mget(FIRST, SECOND) == ["x", "x"]


def test_a_password_is_replaced_for_good(cluster: LocalCluster) -> None:
    old = cluster.password
    cluster.allow_password("new")
    with login(cluster, old) as before, login(cluster, "new") as after:
        assert before.ping()
        assert after.ping()
        cluster.require_password("new")
        with pytest.raises(redis.AuthenticationError):
            before.ping()
    replica = cluster.replicas_of(cluster.primaries[0])[0]
    cluster.restart(replica)
    added = cluster.add_node()
    for node in (replica, added):
        with redis.Redis(port=node.port, username=cluster.username, password="new") as client:
            assert client.ping()
    cluster.remove(added)
    cluster.wait_until_stable()


def test_a_move_that_is_given_up_leaves_everything_where_it_was(cluster: LocalCluster) -> None:
    home = cluster.primary_for(FIRST)
    target = next(node for node in cluster.primaries if node is not home)
    home.admin.mset({FIRST: "1", SECOND: "2"})
    cluster.open_slot(SLOT, target)
    assert cluster.move_keys(SLOT, target, limit=1) == 1
    cluster.return_slot(SLOT, target)
    assert cluster.primary_for(FIRST) is home
    assert home.admin.mget(FIRST, SECOND) == ["1", "2"]


@pytest.mark.slow
def test_the_clock_of_one_node_jumps() -> None:
    with LocalCluster(movable_clocks=True) as cluster:
        moved, other = cluster.nodes[:2]
        for ahead in (100, -100, 0):
            moved.move_clock(ahead)
            assert int(moved.command("TIME")[0]) - int(other.command("TIME")[0]) == pytest.approx(ahead, abs=2)
        cluster.wait_until_stable()
        pids = [node.pid for node in cluster.nodes]
    assert not [name for pid in pids for name in Path("/dev/shm").glob(f"*_{pid}")]


def test_a_clock_that_is_the_machines_does_not_move(cluster: LocalCluster) -> None:
    with pytest.raises(LocalClusterError, match="movable_clocks"):
        cluster.nodes[0].move_clock(1)
