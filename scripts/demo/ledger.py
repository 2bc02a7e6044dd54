"""Counts executions outside the cluster: the workers load this module and append to a file what they start and finish.

It is a task module without tasks, named in `FLEET_TASK_MODULES` beside the service's own. What Redis forgets or
delivers twice still shows here, because Redis is not asked.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import signals

#: Names the file.
VARIABLE = "DEMO_LEDGER"


def _append(**entry: Any) -> None:
    line = json.dumps({**entry, "pid": os.getpid(), "at": time.time()}, separators=(",", ":")) + "\n"
    # One write in append mode: lines of different processes do not mix, and what is written survives a kill.
    descriptor = os.open(Path(os.environ[VARIABLE]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


# Not weak: nothing else holds these functions in a worker.
@signals.task_prerun.connect(weak=False)
def started(task_id: str, **_: object) -> None:
    """A worker begins to run a task."""
    _append(event="start", id=task_id)


@signals.task_postrun.connect(weak=False)
def finished(task_id: str, state: str, **_: object) -> None:
    """A worker has run a task and not yet acknowledged it."""
    _append(event="end", id=task_id, state=state)
