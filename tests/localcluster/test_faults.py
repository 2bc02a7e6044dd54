from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis.crc import key_slot
from redis.exceptions import TryAgainError

from scripts.localcluster import LocalCluster, LocalClusterError
from tests.conftest import ClusterFactory
from tests.rediscluster.faultkit import eventually

KEY = "broker:{queue}:ready"
SLOT = key_slot(b"queue")


@pytest.fixture(scope="module")
def shaken() -> Iterator[LocalCluster]:
    with LocalCluster() as cluster:
        yield cluster


def test_failover_promotes_the_replica(shaken: LocalCluster) -> None:
    old = shaken.primary_for(KEY)
    (replica,) = shaken.replicas_of(old)
    shaken.failover(replica)
    assert shaken.primary_for(KEY) is replica
    assert shaken.replicas_of(replica) == [old]
    with pytest.raises(LocalClusterError, match="is a primary already"):
        shaken.failover(replica)


def test_slot_moves_with_its_keys(shaken: LocalCluster) -> None:
    source = shaken.primary_for(KEY)
    target = next(node for node in shaken.primaries if node is not source)
    source.admin.set(KEY, "1")
    shaken.migrate_slot(SLOT, target)
    assert shaken.primary_for(KEY) is target
    assert target.admin.get(KEY) == "1"
    shaken.migrate_slot(SLOT, source)
    assert source.admin.get(KEY) == "1"


def test_half_moved_slot(shaken: LocalCluster) -> None:
    source = shaken.primary_for(KEY)
    target = next(node for node in shaken.primaries if node is not source)
    keys = [f"broker:{{queue}}:{number}" for number in range(3)]
    for key in keys:
        source.admin.set(key, "1")
    shaken.open_slot(SLOT, target)
    assert shaken.move_keys(SLOT, target, limit=1) == 1
    with pytest.raises(TryAgainError):
        source.admin.mget(keys)
    shaken.move_keys(SLOT, target)
    shaken.close_slot(SLOT, target)
    shaken.open_slot(SLOT, source)
    shaken.abort_slot(SLOT, source)
    assert target.admin.mget(keys) == ["1"] * 3


def test_nodes_come_and_go(shaken: LocalCluster) -> None:
    primary = shaken.primaries[1]
    node = shaken.add_node(replica_of=primary)
    assert len(shaken.replicas_of(primary)) == 2
    with pytest.raises(LocalClusterError, match="still serves slots"):
        shaken.remove(primary)
    shaken.remove(node)
    assert not node.alive
    shaken.wait_until_stable()
    assert node not in shaken.nodes


def test_killed_primary_returns_only_after_its_replica_took_over(fresh_cluster: ClusterFactory) -> None:
    cluster = fresh_cluster()
    primary = cluster.primary_for(KEY)
    (replica,) = cluster.replicas_of(primary)
    primary.admin.set(KEY, "1")
    eventually(lambda: primary.admin.wait(1, 1_000) == 1, "the replica has the key")
    # Not before it was asked, however long that takes.
    replica.admin.config_set("cluster-replica-no-failover", "yes")
    cluster.kill(primary)
    with pytest.raises(LocalClusterError, match="would come back empty"):
        cluster.restart(primary)
    assert not primary.alive
    replica.admin.config_set("cluster-replica-no-failover", "no")
    assert cluster.wait_promoted(primary) is replica
    cluster.restart(primary)
    cluster.wait_until_stable()
    assert cluster.replicas_of(replica) == [primary]
    assert replica.admin.get(KEY) == "1"


def test_frozen_primary_is_replaced_and_joins_again(fresh_cluster: ClusterFactory) -> None:
    cluster = fresh_cluster(node_timeout_ms=1_000)
    primary = cluster.primary_for(KEY)
    (replica,) = cluster.replicas_of(primary)
    cluster.freeze(primary)
    assert cluster.wait_promoted(primary) is replica
    cluster.thaw(primary)
    cluster.wait_until_stable()
    assert cluster.replicas_of(replica) == [primary]


def test_append_only_cluster_survives_the_death_of_all(fresh_cluster: ClusterFactory) -> None:
    cluster = fresh_cluster(appendonly=True)
    cluster.primary_for(KEY).admin.set(KEY, "1")
    for node in cluster.nodes:
        cluster.kill(node)
    with pytest.raises(LocalClusterError, match="No node of the cluster is alive"):
        cluster.primary_for(KEY)
    for node in cluster.nodes:
        cluster.restart(node)
    cluster.wait_until_stable()
    assert cluster.primary_for(KEY).admin.get(KEY) == "1"


def test_waiting_for_a_node_that_served_nothing(shaken: LocalCluster) -> None:
    with pytest.raises(LocalClusterError, match="served no slots"):
        shaken.wait_promoted(shaken.replicas[0])
