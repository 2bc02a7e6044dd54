"""A cluster of their own for these tests: the dead lists are those of the fleet's queues."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from scripts.localcluster import LocalCluster
from tests.conftest import unbroken_cluster
from tests.deadletters.stage import Stage


@pytest.fixture(scope="session")
def letters_cluster() -> Iterator[LocalCluster]:
    with unbroken_cluster() as started:
        yield started


@pytest.fixture
def stage(
    letters_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Workers, dead lists and a store for one test, which leaves the lists empty."""
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        monkeypatch.delenv(name)
    made = Stage(letters_cluster, tmp_path_factory.mktemp("stage"))
    yield made
    made.close()
