from __future__ import annotations

from collections.abc import Iterator

import pytest
from kombu import Connection

from scripts.localcluster import LocalCluster
from service.fleet import REDIS_ACCESS_STRING
from service.rediscluster import BrokerInspector
from tests.rediscluster.faultkit import Workers, heal


@pytest.fixture
def connection(cluster: LocalCluster) -> Iterator[Connection]:
    with Connection(cluster.url) as opened:
        yield opened


@pytest.fixture
def inspector(cluster: LocalCluster) -> Iterator[BrokerInspector]:
    opened = BrokerInspector(cluster.url)
    yield opened
    opened.close()


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Starts workers; none is left behind."""
    started = Workers()
    yield started
    started.end()


@pytest.fixture(scope="module")
def nodes() -> Iterator[LocalCluster]:
    """A cluster of a test file of its own."""
    with LocalCluster(access_string=REDIS_ACCESS_STRING) as started:
        yield started


@pytest.fixture
def broken(nodes: LocalCluster) -> Iterator[LocalCluster]:
    """A cluster to break: whole again before the next test."""
    yield nodes
    heal(nodes)
