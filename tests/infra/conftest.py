"""Both stacks and all other configurations, rendered once for all tests."""

from __future__ import annotations

import pytest

from scripts.render import Render
from tests.infra.renders import Renders

STACKS = ("staging", "prod")


@pytest.fixture(scope="session")
def staging(renders: Renders) -> Render:
    return renders.named("staging")


@pytest.fixture(scope="session")
def prod(renders: Renders) -> Render:
    return renders.named("prod")


@pytest.fixture(scope="session", params=STACKS)
def stack(request: pytest.FixtureRequest, renders: Renders) -> Render:
    return renders.named(request.param)
