from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.localcluster import LocalCluster
from scripts.localcluster.single import single_redis
from tests.bridge.kit import Sides


@pytest.fixture
def sides(cluster: LocalCluster) -> Iterator[Sides]:
    """A stock broker of this test alone, and queues of the shared cluster."""
    with single_redis() as address:
        yield Sides(f"redis://{address}/0", cluster)
