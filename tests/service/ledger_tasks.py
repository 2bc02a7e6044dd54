"""The tasks and the ledger of the fault tests, for a worker of the fleet, with the grace of `held_task`."""

from __future__ import annotations

import os

from celery import current_app

from service import steps
from tests.rediscluster.faultapp import add_tasks
from tests.service import held_task  # noqa: F401  sets the grace

#: Seconds between SIGQUIT and the cut.
current_app.conf.worker_soft_shutdown_timeout = float(os.environ.get("SOFT_TIMEOUT", "0"))

steps.COLD_SECONDS = float(os.environ.get("COLD_SECONDS", steps.COLD_SECONDS))

add_tasks(current_app)
