"""What the fleet adds to Celery's worker."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

from celery import bootsteps, signals
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.worker.state import active_requests

from service.rediscluster.session import close_all

_LOG = logging.getLogger(__name__)

#: Seconds that Celery's cold shutdown may take.
COLD_SECONDS = 5.0
#: Exit code of a worker whose tasks outlasted the grace.
EXIT_GRACE_OVER = 1


class Grace(bootsteps.StartStopStep):
    """Gives running tasks a limited time after SIGTERM.

    Celery's warm shutdown stops fetching and ends as soon as the running tasks have, but waits for them without limit.
    Its soft shutdown has a limit, but always sleeps until it, and breaks off with gevent. So SIGTERM stays a warm
    shutdown, and when the grace is over this step ends it and gives back what still runs.
    """

    # Before the consumer, whose start is the whole life of the worker.
    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        """Prepare; the worker does not run yet."""
        super().__init__(worker, **kwargs)
        self._seconds = float(worker.app.conf.worker_shutdown_grace)
        self._processes = False
        self._asked = threading.Event()

    def start(self, parent: Any) -> None:
        """Wait for the shutdown in a thread: with gevent, a signal handler must not start one."""
        self._processes = isinstance(parent.pool, ProcessPool)
        signals.worker_shutting_down.connect(self._begin)
        threading.Thread(target=self._watch, name="grace", daemon=True).start()

    def _begin(self, **_: object) -> None:
        self._asked.set()

    def _watch(self) -> None:
        self._asked.wait()
        threading.Event().wait(self._seconds)
        _LOG.warning("the grace of %.0f s is over: %d tasks go back", self._seconds, len(active_requests))
        if self._processes:
            # Celery's cold shutdown ends the processes and gives their tasks back; it hangs on a broker that is gone.
            os.kill(os.getpid(), signal.SIGQUIT)
            threading.Event().wait(COLD_SECONDS)
        # No thread can be ended from outside, and Celery acknowledges the task of a greenlet that is killed.
        try:
            close_all()
        finally:
            os._exit(EXIT_GRACE_OVER)
