"""The part of the `dead_letter` worker that drains the dead lists, beside the tasks of its queue."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

from celery import bootsteps

from service.deadletters.drain import Drainer
from service.deadletters.store import open_store
from service.deadletters.untold import send_tell
from service.health import threads
from service.rediscluster.deadlist import DeadLists
from service.settings import Settings

_LOG = logging.getLogger(__name__)

#: The module with the tasks of such a worker, beside those that the fleet's modules have.
TASKS = "service.deadletters.tasks"


def drain_step(settings: Settings) -> type[bootsteps.StartStopStep]:
    """The step for a worker with these settings: threads of its main process, from its start to its end."""

    class Drain(bootsteps.StartStopStep):
        """Drains while the worker lives, also while that waits for its broker."""

        # Before the consumer, whose start is the whole life of the worker.
        requires = ("celery.worker.components:Pool",)

        def __init__(self, worker: Any, **kwargs: Any) -> None:
            """Prepare; the worker does not run yet."""
            super().__init__(worker, **kwargs)
            self._stopping = threading.Event()

        def start(self, parent: Any) -> None:
            """Begin, if there is a store."""
            store = open_store(settings)
            if store is None:
                _LOG.warning("neither FLEET_LETTERS_TABLE nor FLEET_LETTERS_FILE: letters stay on the dead lists")
                return
            conf = parent.app.conf
            lists = DeadLists(conf.broker_url, conf.broker_transport_options)
            drainer = Drainer(lists, store, settings.queue_names, partial(send_tell, parent.app))
            threads.start("drains the dead lists", drainer.run, self._stopping)
            if settings.letters_table:
                from service.deadletters.gauge import Gauge

                gauge = Gauge(settings, store, settings.queue_names)
                threads.start("publishes the number of dead letters", gauge.run, self._stopping)

        def stop(self, _parent: Any) -> None:
            """The worker ends; whatever is half done is done again by the next drainer."""
            self._stopping.set()

        def terminate(self, parent: Any) -> None:
            """The worker ends at once."""
            self.stop(parent)

    return Drain
