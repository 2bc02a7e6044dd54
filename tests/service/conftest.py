"""What the service's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from scripts.localcluster import LocalCluster
from tests.service.running import client


@pytest.fixture(autouse=True)
def no_outer_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own settings are not the tests'."""
    for name in [name for name in os.environ if name.upper().startswith("FLEET_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory like a container's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture(scope="module")
def app(cluster: LocalCluster) -> Iterator[Celery]:
    """The app of a producer; its queues are empty before and after."""
    app = client(cluster)
    app.control.purge()
    yield app
    app.control.purge()
    app.close()
