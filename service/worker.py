"""The worker's command line, built from the settings."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterable
from typing import NoReturn

from service import heartbeat, limits, logs
from service.settings import Settings, SettingsError, exit_with
from service.startup.waiting import StartupError, wait_for_everything

_LOG = logging.getLogger(__name__)

#: Exit code of a worker without something that it needs: another attempt may succeed.
EXIT_STARTUP = 3
#: Exit code of a worker that was told to end before it had begun, as a shell would say it.
EXIT_SIGTERM = 128 + signal.SIGTERM


def node_name(settings: Settings) -> str:
    """A name for the worker that no other has, also not on the same machine."""
    what = settings.queues[0] if len(settings.queues) == 1 else "mixed"
    return f"{what}-{uuid.uuid4().hex[:8]}@%h"


def arguments(settings: Settings) -> list[str]:
    """Celery's arguments for these settings, without the interpreter."""
    if settings.autoscale_min is None:
        size = ["--concurrency", str(settings.concurrency)]
    else:
        size = ["--autoscale", f"{settings.concurrency},{settings.autoscale_min}"]
    # Celery's banner is no JSON.
    quiet = ["--quiet"] if settings.log_format == "json" else []
    return [
        *("-A", "service.celery_app", *quiet, "worker"),
        *("--queues", ",".join(settings.queues)),
        *("--pool", settings.pool, *size),
        *("--loglevel", settings.log_level),
        *("--hostname", node_name(settings)),
        # Gossip makes every worker listen to every other one; nothing here needs that. Mingle stays: it brings a new
        # worker the list of revoked tasks. So does the heartbeat: monitors see the workers by it.
        "--without-gossip",
        *(["--purge"] if settings.purge_on_start else []),
    ]


def missing_modules(names: Iterable[str]) -> list[str]:
    """Those task modules that cannot be found."""
    return [name for name in names if not _exists(name)]


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def run(settings: Settings) -> NoReturn:
    """Wait for what the worker needs and become it: by exec, so that signals and the exit code are its own."""
    missing = missing_modules(settings.task_modules)
    if missing:
        exit_with(SettingsError([f"FLEET_TASK_MODULES: there is no module {', '.join(missing)}"]))
    heartbeat.clear()
    logs.configure(settings)
    # As the first process of a container it would not be ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_SIGTERM))
    for sentence in limits.unkept(settings):
        _LOG.warning(sentence)
    try:
        wait_for_everything(settings)
    except StartupError as error:
        for problem in error.problems:
            _LOG.error(problem)
        sys.exit(EXIT_STARTUP)
    sys.stdout.flush()
    # `--pool` on the command line is also what makes Celery patch the sockets for gevent before it imports anything.
    os.execv(sys.executable, [sys.executable, "-m", "celery", *arguments(settings)])
