"""Reads the queues in the background: a shard in trouble must not stop the view."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from service.rediscluster import BrokerInspector, QueueStats
from service.settings import Settings

_LOG = logging.getLogger(__name__)

PERIOD = 0.5


class Gauge:
    """The last known state of each queue.

    Attributes:
        stats: By queue.
        rounds: How many times all queues were read.
    """

    def __init__(self, settings: Settings, options: dict[str, object], queues: Sequence[str]) -> None:
        self.stats: dict[str, QueueStats] = {queue: QueueStats() for queue in queues}
        self.rounds = 0
        self._inspector = BrokerInspector(settings.broker_url, options)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def stop(self) -> None:
        """End reading."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(PERIOD * 4)
        self._inspector.close()

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD):
            whole = True
            for queue in self.stats:
                try:
                    self.stats[queue] = self._inspector.stats(queue)
                except Exception as error:  # noqa: BLE001  the last known state stays until the shard is back
                    _LOG.debug("queue %s: %s", queue, error)
                    whole = False
            self.rounds += whole
