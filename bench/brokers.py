"""What is compared: stock kombu on one standalone Redis, and the cluster transport on three primaries with replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.localcluster import LocalCluster
from scripts.localcluster.single import single_redis


@contextmanager
def stock() -> Iterator[str]:
    """One Redis without persistence; its URL for kombu's own transport."""
    with single_redis() as address:
        yield f"redis://{address}/0"


@contextmanager
def ours() -> Iterator[str]:
    """A 3+3 cluster; its URL for the cluster transport."""
    with LocalCluster() as cluster:
        yield cluster.url
