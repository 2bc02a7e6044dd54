"""Both stacks and all other configurations, rendered once for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from scripts.render import Render
from tests.infra.renders import Renders

STACKS = ("staging", "prod")


@pytest.fixture(scope="session")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renders]:
    base = tmp_path_factory.getbasetemp()
    # Under pytest-xdist the folder above belongs to this run and to all of its processes.
    made = Renders((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "renders")
    yield made
    made.close()


@pytest.fixture(scope="session")
def staging(renders: Renders) -> Render:
    return renders.named("staging")


@pytest.fixture(scope="session")
def prod(renders: Renders) -> Render:
    return renders.named("prod")


@pytest.fixture(scope="session", params=STACKS)
def stack(request: pytest.FixtureRequest, renders: Renders) -> Render:
    return renders.named(request.param)
