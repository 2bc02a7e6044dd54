"""Clusters for the tests. What a test breaks it takes from `fresh_cluster`; the others are shared by the whole run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from scripts.localcluster import LocalCluster
from service.fleet import REDIS_ACCESS_STRING
from tests.infra.renders import Renders

UNBROKEN_NODE_TIMEOUT_MS = 60_000
# How long an example takes is the machine's business.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
#: Takes LocalCluster's arguments and returns a started cluster that ends with the test.
ClusterFactory = Callable[..., LocalCluster]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest proofs begin first: several processes share the work, and none should be left alone with one."""
    marks = {item: item.get_closest_marker("slow") for item in items}
    items.sort(key=lambda item: -mark.kwargs.get("minutes", 0) if (mark := marks[item]) else 0)


@pytest.fixture(scope="session", autouse=True)
def no_server_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run if a redis-server that it started, in this process or below, outlives it."""
    directory = tmp_path_factory.mktemp("run").resolve()
    # Every cluster of this run lies below this directory, also those of subprocesses.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(directory))
        patch.setattr(tempfile, "tempdir", None)
        yield
    left = servers_below(tmp_path_factory.getbasetemp().resolve())
    assert not left, f"redis-server processes outlive the tests: {left}"


def servers_below(directory: Path) -> list[int]:
    """Find the redis-server processes that work in or below a directory."""
    found = []
    for process in psutil.process_iter(["name"]):
        # The server rewrites its environment and arguments for its title: its working directory is what remains.
        if process.info["name"] == "redis-server":
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.cwd().startswith(f"{directory}{os.sep}"):
                    found.append(process.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
    return found


@contextmanager
def unbroken_cluster(**arguments: Any) -> Iterator[LocalCluster]:
    """A cluster that no test breaks: nodes that stand still on a busy machine keep their roles."""
    with LocalCluster(**{"access_string": REDIS_ACCESS_STRING, **arguments}) as started:
        for node in started.nodes:
            # Only now: nodes that need not wait long for each other meet faster.
            node.command("CONFIG", "SET", "cluster-node-timeout", UNBROKEN_NODE_TIMEOUT_MS)
        yield started


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """A cluster that no test breaks; its user has the permissions of the stack's workers."""
    with unbroken_cluster() as started:
        yield started


@pytest.fixture(scope="session")
def tls_cluster() -> Iterator[LocalCluster]:
    """Like `cluster`, with TLS."""
    with unbroken_cluster(tls=True) as started:
        yield started


@pytest.fixture(scope="session")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renders]:
    """The stacks as the program describes them; much faster than `scripts.render.render` for each."""
    base = tmp_path_factory.getbasetemp()
    # Under pytest-xdist the folder above belongs to this run and to all of its processes.
    made = Renders((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "renders")
    yield made
    made.close()


@pytest.fixture
def fresh_cluster() -> Iterator[ClusterFactory]:
    """Start clusters for one test; the user has the workers' permissions unless the test says otherwise."""
    with ExitStack() as stack:

        def start(**arguments: Any) -> LocalCluster:
            arguments.setdefault("access_string", REDIS_ACCESS_STRING)
            return stack.enter_context(LocalCluster(**arguments))

        yield start
