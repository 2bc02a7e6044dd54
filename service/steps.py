"""What the fleet adds to Celery's worker: an end in time, on every pool."""

from __future__ import annotations

import atexit
import math
import os
import signal
import time
from types import FrameType
from typing import Any, Final

from billiard.common import REMAP_SIGTERM
from celery import bootsteps, platforms, signals
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.utils.log import in_sighandler
from celery.worker import state

from service.rediscluster.logs import logger_for, write_left_at_once
from service.rediscluster.native import Bell, readable, start_thread
from service.rediscluster.session import close_all

_LOG = logger_for(__name__)

#: Seconds in which a worker that has nothing to wait for any more must have ended.
COLD_SECONDS = 5.0
#: Seconds between two looks whether a task has begun that must not run any more.
LOOK: Final = 0.1
#: Exit code of a worker that was told to end cold, or whose tasks outlasted the grace.
EXIT_COLD: Final = 1


class Grace(bootsteps.StartStopStep):
    """Ends a worker in time: running tasks get a limited time, and what has not ended then goes back.

    Celery's warm shutdown stops fetching and ends as soon as the running tasks have, but waits for them without limit.
    Its soft and cold shutdowns work inside the signal handler, whatever the main thread was doing: they sleep through
    all of the soft timeout, lose the tasks of the greenlets that they kill, and fail with threads and solo. So here
    every shutdown is a warm one with an end: the grace after SIGTERM, the soft timeout after SIGQUIT.
    """

    # Before the consumer, whose start is the whole life of the worker.
    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        """Prepare; the worker does not run yet."""
        super().__init__(worker, **kwargs)
        conf = worker.app.conf
        self._worker = worker
        self._grace = float(conf.worker_shutdown_grace)
        self._soft = float(conf.worker_soft_shutdown_timeout)
        self._cold_signals = 0
        #: When running tasks are cut, and when the process is; on the monotonic clock.
        self._cut_at = self._end_at = math.inf
        self._bell = Bell()
        self._watching = self._over = False
        signals.worker_shutting_down.connect(self._begun)

    def start(self, parent: Any) -> None:
        """Wait for the shutdown in a native thread: a task that computes stops every other one of gevent and solo."""
        for name in ("SIGQUIT", *(["SIGTERM"] if REMAP_SIGTERM == "SIGQUIT" else [])):
            platforms.signals[name] = self._cold
        self._watching = True
        start_thread(self._watch)
        atexit.register(self._dismiss)

    def close(self, parent: Any) -> None:
        """The worker ends, for whatever reason: a remote `shutdown` and a lost broker send no signal."""
        self._cut_after(self._grace)

    def _dismiss(self) -> None:
        """The worker has ended by itself: a thread that outlives the interpreter crashes it under eventlet."""
        self._over = True
        self._bell.ring()
        ends = time.monotonic() + 1.0
        while self._watching and time.monotonic() < ends:
            time.sleep(0.002)

    # -- in signal handlers: they take no lock and talk to nobody ----------------------------------------------------

    def _begun(self, sig: str, **_: object) -> None:
        """Celery's handlers tell of a warm shutdown, ours of a cold one."""
        if sig == "SIGINT":
            # Celery has just installed its own for the next one.
            platforms.signals[sig] = self._cold
        self._cut_after(self._grace)

    def _cold(self, number: int, _frame: FrameType | None) -> None:
        """End soon; at the second such signal now, at the third without waiting for anything."""
        self._cold_signals += 1
        soft = self._soft if self._cold_signals == 1 and state.active_requests else 0.0
        self._cut_after(soft)
        if self._cold_signals > 2:
            self._end_at = time.monotonic()
        state.should_stop = EXIT_COLD  # type: ignore[assignment] # not in the stubs
        name = signal.Signals(number).name
        with in_sighandler():  # type: ignore[attr-defined] # not in the stubs
            signals.worker_shutting_down.send(sender=self._worker.hostname, sig=name, how="Cold", exitcode=EXIT_COLD)

    def _cut_after(self, seconds: float) -> None:
        self._cut_at = min(self._cut_at, time.monotonic() + seconds)
        self._bell.ring()

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._wait_for_the_end()
        try:
            if not self._over:
                self._cut()
        except Exception:  # noqa: BLE001  whatever it is, the process must end
            _LOG.exception("the running tasks could not be cancelled")
        finally:
            self._watching = False
        if self._over:
            return
        # No thread can be ended from outside, and Celery acknowledges the task of a greenlet that is killed.
        try:
            close_all()
        finally:
            write_left_at_once()
            os._exit(EXIT_COLD)

    def _wait_for_the_end(self) -> None:
        told = math.inf
        while (left := self._cut_at - time.monotonic()) > 0 and not self._over:
            if self._cut_at < told:
                told = self._cut_at
                _LOG.info("shutting down: %d tasks run, and get %.0f s", len(state.active_requests), left)
            self._wait(min(left, 3600.0))

    def _cut(self) -> None:
        """End what runs, and wait for the worker to end by itself where it can."""
        running, processes = len(state.active_requests), isinstance(self._worker.pool, ProcessPool)
        if running:
            why = "cold shutdown" if self._cold_signals else f"the grace of {self._grace:.0f} s is over"
            _LOG.warning("%s: %d tasks go back", why, running)
        if running or self._cold_signals:
            self._worker.exitcode = EXIT_COLD
        if running and not processes:
            return
        self._end_at = min(self._end_at, time.monotonic() + COLD_SECONDS)
        while (left := self._end_at - time.monotonic()) > 0 and not self._over:
            if processes:
                self._cancel()
            self._wait(min(left, LOOK))

    def _cancel(self) -> None:
        """End the processes' tasks by SystemExit, so that they clean up; those too that have only just begun."""
        try:
            self._worker.consumer.cancel_active_requests()
        except RuntimeError:
            # The set of running tasks changed in the middle: the next look is soon.
            return

    def _wait(self, seconds: float) -> None:
        readable([self._bell.fileno], seconds)
        self._bell.hear()
