from __future__ import annotations

from collections.abc import Iterator

import pytest
from kombu import Connection

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector


@pytest.fixture
def connection(cluster: LocalCluster) -> Iterator[Connection]:
    with Connection(cluster.url) as opened:
        yield opened


@pytest.fixture
def inspector(cluster: LocalCluster) -> Iterator[BrokerInspector]:
    opened = BrokerInspector(cluster.url)
    yield opened
    opened.close()
