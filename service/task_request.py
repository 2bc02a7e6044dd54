"""What a worker makes of a message: a failure becomes a dead letter, and limits hold that Celery would skip."""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import bootsteps
from celery.app.task import Task as CeleryTask

from service.rediscluster import failures

_LOG = logging.getLogger(__name__)

#: What `Task.Request` is where nobody chose another.
_CELERYS: Final = CeleryTask.Request


class Request(failures.Request):
    """A message on its way through the worker.

    Where a task has both limits, Celery's prefork pool waits for the soft one before it looks at the hard one. A soft
    limit beyond the hard one, of the call, the task or the worker, would let the task run for longer than it may.
    """

    # Not in the stubs.
    task: Any

    def __init__(self, message: Any, **options: Any) -> None:
        """As Celery's, with a soft limit that is no later than the hard one."""
        super().__init__(message, **options)
        hard, soft = self.time_limits
        hard, soft = hard or self.task.time_limit, soft or self.task.soft_time_limit
        self.time_limits = (hard, min(soft, hard) if soft and hard else soft)


class Adopt(bootsteps.StartStopStep):
    """Gives the fleet's `Request` to tasks whose base class is not the fleet's: their failures would leave nothing."""

    # Before the consumer, which makes of each task what it does with its messages.
    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """All task modules are imported."""
        for task in parent.app.tasks.values():
            if task.Request == _CELERYS:
                task.Request = f"{__name__}:{Request.__name__}"
                _LOG.warning(
                    "task %s has a base class of its own, not from service.task.Task: Celery's defaults hold for its "
                    "retries; its failures become dead letters all the same",
                    task.name,
                )
