"""The Celery app of the benchmark, for publishers (`make_app`) and for `celery -A bench.app worker`."""

from __future__ import annotations

import functools
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from celery import Celery

import bench.kept  # noqa: F401 - registers a URL scheme
import service.rediscluster  # noqa: F401 - registers the others

#: What the worker reads from its environment: the settings as JSON, and the socket that hears of marked tasks.
SETTINGS, INBOX, ROLE = "BENCH_SETTINGS", "BENCH_INBOX", "BENCH_ROLE"
#: The role of a worker that never ends a `hold` task.
HOLDER = "holder"

TICK, HOLD = "bench.tick", "bench.hold"


def settings(url: str, backend: str | None, options: Mapping[str, Any], backend_options: Mapping[str, Any]) -> Any:
    """Celery's settings: late acks and a prefetch of one per process, as in the fleet."""
    return {
        "broker_url": url,
        "broker_transport_options": dict(options),
        "broker_connection_retry_on_startup": True,
        "result_backend": backend,
        "result_backend_transport_options": dict(backend_options),
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
    }


def make_app(configuration: Mapping[str, Any]) -> Any:
    """A Celery app of its own."""
    made = Celery("bench", set_as_current=False)
    made.conf.update(configuration)
    return made


app: Any = make_app(json.loads(os.environ.get(SETTINGS, "{}")))


@functools.cache
def _inbox(_pid: int) -> socket.socket:
    # One for each pool process.
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.connect(os.environ[INBOX])
    return inbox


def tell(text: str) -> None:
    """Tell the benchmark; the moment is on the clock that all processes of a machine share."""
    _inbox(os.getpid()).send(f"{time.monotonic():.6f} {text}".encode())


@app.task(name=TICK)  # type: ignore[untyped-decorator]
def tick(mark: str) -> None:
    """Nothing, or a word to the benchmark."""
    if mark:
        tell(mark)


@app.task(name=HOLD)  # type: ignore[untyped-decorator]
def hold(mark: str) -> None:
    """Say who runs it; with a holder it never ends."""
    role = os.environ.get(ROLE, "")
    tell(f"{mark} {role}")
    if role == HOLDER:
        time.sleep(3600)
