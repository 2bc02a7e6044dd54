"""A task that says that it runs and waits for permission to end; the worker gets a grace that a test can wait for."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import current_app, shared_task

current_app.conf.worker_shutdown_grace = float(os.environ["HELD_GRACE"])


@shared_task
def hold(directory: str) -> str:
    place = Path(directory)
    (place / "started").touch()
    while not (place / "release").exists():
        time.sleep(0.02)
    return "ended"
