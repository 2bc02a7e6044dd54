"""The image, built once; what its tests measured is printed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from pydantic import SecretStr

from scripts.image.build import Built, build
from scripts.image.engine import Engine
from scripts.localcluster import LocalCluster
from scripts.render import Render
from scripts.render.services import EcsService, redis_access_string, redis_user_name, services
from service.app import create_app
from service.settings import Settings
from tests.conftest import unbroken_cluster
from tests.image.gate import Gate
from tests.infra.renders import Renders

_SAID = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SAID] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if said := config.stash.get(_SAID, []):
        terminalreporter.section("image")
        for line in said:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Put a line into the run's summary."""
    return pytestconfig.stash.setdefault(_SAID, []).append


@pytest.fixture(scope="session")
def prod(renders: Renders) -> Render:
    return renders.named("prod")


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="session")
def image(engine: Engine, prod: Render) -> Built:
    return build(engine, prod)


@pytest.fixture(scope="session")
def redis(prod: Render) -> Iterator[LocalCluster]:
    """A cluster with TLS and the stack's own user."""
    user, rules = redis_user_name(prod), redis_access_string(prod)
    with unbroken_cluster(tls=True, username=user, access_string=rules) as started:
        yield started


@pytest.fixture
def app(redis: LocalCluster) -> Iterator[Celery]:
    """An application that sends tasks to the same cluster; its queues are empty before and after."""
    made = create_app(
        Settings(
            redis_host="127.0.0.1",
            redis_port=redis.primaries[0].port,
            redis_username=redis.username,
            redis_password=SecretStr(redis.password),
            redis_tls=True,
            redis_ca_file=redis.ca_file,
        )
    )
    made.control.purge()
    yield made
    made.control.purge()
    made.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.stop()


def service_of(render: Render, what: str) -> EcsService:
    """The service of a queue, or the one with a role of its own, such as the monitor."""
    (found,) = (service for service in services(render) if what in {service.queue, service.role})
    return found
