"""The worker's step that asks the ECS agent for protection while long tasks run."""

from __future__ import annotations

import os
import time
from typing import Any, Final

from celery import bootsteps, signals
from celery.worker.state import active_requests

from service.protection.agent import PATIENCE, VARIABLE, AgentError, protect
from service.protection.guard import Guard
from service.rediscluster.logs import logger_for
from service.rediscluster.native import Bell, readable, start_thread
from service.settings import Settings

_LOG = logger_for(__name__)

#: Seconds between two looks at what runs.
LOOK: Final = 1.0


def protection_step(settings: Settings) -> type[bootsteps.StartStopStep]:
    """The step for a worker with these settings; it does nothing outside ECS."""

    class Protection(bootsteps.StartStopStep):
        """Looks at the running tasks from the worker's start until it is told to stop."""

        # Before the consumer, whose start is the whole life of the worker.
        requires = ("celery.worker.components:Pool",)

        def __init__(self, worker: Any, **kwargs: Any) -> None:
            """Prepare; the worker does not run yet."""
            super().__init__(worker, **kwargs)
            self._watch: Watch | None = None

        def start(self, _parent: Any) -> None:
            """Begin, if there is an agent to ask."""
            uri = os.environ.get(VARIABLE)
            if uri and settings.protection_minutes:
                self._watch = Watch(uri, Guard(settings.protection_minutes, settings.protection_after))
                self._watch.start()

        def stop(self, _parent: Any) -> None:
            """The worker ends."""
            if self._watch is not None:
                self._watch.stop()

        def terminate(self, parent: Any) -> None:
            """The worker ends at once."""
            self.stop(parent)

    return Protection


class Watch:
    """A native thread: green ones starve behind a busy task, which is when protection is needed."""

    def __init__(self, uri: str, guard: Guard) -> None:
        """Nothing is asked before `start`."""
        self._uri, self._guard = uri, guard
        self._seen: dict[str, float] = {}
        self._trouble = ""
        self._bell = Bell()
        self._stopping = self._running = False

    def start(self) -> None:
        """Look once a second, until the worker shuts down: then ECS has decided, and the grace begins."""
        signals.worker_shutting_down.connect(self._end)
        self._running = True
        start_thread(self._run)

    def stop(self) -> None:
        """End, and wait for it: a thread that outlives the interpreter crashes it under eventlet."""
        self._end()
        ends = time.monotonic() + PATIENCE
        while self._running and time.monotonic() < ends:
            time.sleep(0.01)

    def _end(self, **_: object) -> None:
        self._stopping = True
        self._bell.ring()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._look(time.monotonic())
                readable([self._bell.fileno], LOOK)
        finally:
            self._running = False

    def _look(self, now: float) -> None:
        guard, before = self._guard, self._guard.until is not None
        minutes = guard.look(now, self._starts(now))
        if minutes is None:
            if before and guard.until is None:
                _LOG.info("no longer protected: the time that was asked for is over")
            return
        try:
            protect(self._uri, minutes)
        except AgentError as error:
            guard.refused(now)
            self._tell(f"{error}")
            return
        self._trouble = ""
        guard.granted(now, minutes)
        if minutes and not before:
            _LOG.info("protected from being stopped for up to %d minutes: long tasks run", minutes)
        elif not minutes:
            _LOG.info("no longer protected")

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _LOG.warning("the ECS agent did not change the task's protection, trying again: %s", trouble)

    def _starts(self, now: float) -> list[float]:
        """When each running task was first seen."""
        try:
            running = {request.id for request in active_requests}
        except RuntimeError:
            # It changed meanwhile: what ran a second ago is near enough.
            return list(self._seen.values())
        self._seen = {task_id: self._seen.get(task_id, now) for task_id in running}
        return list(self._seen.values())
