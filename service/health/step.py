"""The worker's step that notes its signs of life and opens the endpoint."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from celery import bootsteps, signals
from celery.exceptions import ImproperlyConfigured
from celery.worker import state

from service import heartbeat, limits
from service.health import pool, threads
from service.health.counting import COUNTS
from service.health.endpoint import Endpoint
from service.health.exposition import WorkerMetrics
from service.health.judge import Signs
from service.health.sampler import Sampler
from service.health.server import Server
from service.settings import Settings

_LOG = logging.getLogger(__name__)

#: Seconds between two notes that the main loop turns, and between two looks at the pool and the threads.
TURN: Final = 1.0
POOL_LOOK: Final = 2.0


class Health(bootsteps.StartStopStep):
    """Starts when the worker consumes and is heard for the first time, and notes when it no longer does."""

    requires = ("celery.worker.consumer.tasks:Tasks", "celery.worker.consumer.control:Control")
    settings: Settings

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        """Note each turn of the main loop."""
        super().__init__(consumer, **kwargs)
        self._consumer, self._timer = consumer, None
        self._pool_looked_at = 0.0
        self._sampler: Sampler | None = None
        self._signs = Signs(
            patience=self.settings.health_patience,
            task_limit=self.settings.time_limit,
            tasks_in_loop=pool.runs_in_loop(consumer.pool),
            turned_at=time.monotonic(),
        )
        if consumer.hub is None:
            # Without a hub the timer turns by itself; this is called once in each turn of the loop.
            perform = consumer.perform_pending_operations

            def turn_and_perform() -> None:
                self._turn()
                perform()

            consumer.perform_pending_operations = turn_and_perform
        signals.worker_shutting_down.connect(self._stopping)

    def start(self, parent: Any) -> None:
        """The consumer runs (again)."""
        self._turn()
        self._signs.lost_at = None
        if parent.hub is not None:
            self._timer = parent.timer.call_repeatedly(TURN, self._turn)
        if self._sampler is None:
            self._open(parent)

    def stop(self, _parent: Any) -> None:
        """The consumer stops or reconnects."""
        self._signs.lost_at = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def shutdown(self, parent: Any) -> None:
        """The worker ends."""
        self.stop(parent)
        if self._sampler is not None:
            self._sampler.stop()

    def _stopping(self, **_: object) -> None:
        self._signs.stopping = True

    def _turn(self) -> None:
        signs, now = self._signs, time.monotonic()
        signs.turned_at = now
        if now - self._pool_looked_at > POOL_LOOK:
            self._pool_looked_at = now
            dead = pool.is_dead(self._consumer.pool)
            signs.pool_dead_at = (signs.pool_dead_at or now) if dead else None
            signs.threads_gone = threads.gone()

    def _open(self, consumer: Any) -> None:
        settings = self.settings
        for sentence in limits.unkept_of_tasks(consumer.app.tasks.values(), settings):
            _LOG.warning(sentence)

        def active() -> int:
            return len(state.active_requests)

        self._sampler = sampler = Sampler(
            settings.broker_url,
            consumer.app.conf.broker_transport_options,
            consumer.hostname,
            settings.queues,
            active,
        )
        metrics = WorkerMetrics(
            consumer.hostname,
            COUNTS,
            active,
            lambda: endpoint.verdict().alive,
            lambda: sampler.lengths,
            lambda: sampler.breakers,
        )
        endpoint = Endpoint(consumer.hostname, settings.queues, settings.pool, self._signs, active, sampler, metrics)
        try:
            server = Server(settings.health_host, settings.health_port, endpoint.answer)
        except OSError as error:
            # As an OSError it would count as a lost broker, and the worker would try for ever.
            raise ImproperlyConfigured(f"FLEET_HEALTH_PORT={settings.health_port}: {error.strerror}") from error
        server.start()
        sampler.start()
        heartbeat.touch(server.port)
        _LOG.info("health endpoint on http://%s:%d", settings.health_host, server.port)


def health_step(settings: Settings) -> type[Health]:
    """The step with its settings, which Celery instantiates itself."""
    return type("ConfiguredHealth", (Health,), {"settings": settings})
