"""A primary of the cluster dies, or freezes and wakes, in the middle of the move."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import RedisError

from scripts.localcluster import LocalCluster, Node
from scripts.localcluster.single import single_redis
from tests.bridge.kit import Sides, fill, numbers_of
from tests.conftest import ClusterFactory
from tests.rediscluster.faultkit import Verdict, eventually, heal


def kill(cluster: LocalCluster, primary: Node) -> None:
    cluster.kill(primary)
    cluster.wait_promoted(primary)


def freeze(cluster: LocalCluster, primary: Node) -> None:
    cluster.freeze(primary)
    cluster.wait_promoted(primary)
    cluster.thaw(primary)


@pytest.fixture
def sides(fresh_cluster: ClusterFactory) -> Iterator[Sides]:
    with single_redis() as address:
        yield Sides(f"redis://{address}/0", fresh_cluster())


@pytest.mark.slow
@pytest.mark.parametrize("strike", [kill, freeze])
def test_what_a_replica_has_confirmed_survives_the_primary(
    sides: Sides, strike: Callable[[LocalCluster, Node], None]
) -> None:
    count = 6000
    fill(sides.old, range(count))
    cluster = sides.cluster
    with sides.broker() as broker:
        primary = cluster.primary_for(broker.keys("celery").meta)
    interrupted: list[str] = []

    def drain() -> None:
        try:
            sides.drain(batch=3, options={"retry_deadline": 10, "socket_timeout": 1})
        except RedisError as error:
            interrupted.append(type(error).__name__)

    moving = threading.Thread(target=drain)
    moving.start()
    eventually(lambda: sides.raw.llen("celery") < count * 0.9, "a part is moved")
    strike(cluster, primary)
    left = sides.raw.llen("celery")
    moving.join()
    heal(cluster)
    sides.drain()
    what = f"{strike.__name__} with {left} of {count} left, interrupted: {interrupted}"
    found = Verdict(what, frozenset(range(count)), Counter(numbers_of(sides.arrived())))
    print(found)
    found.demand()
    assert left > 0, "the move was over before the primary was"
