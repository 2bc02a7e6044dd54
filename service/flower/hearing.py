"""What Flower hears from workers: without secrets, and again soon after any outage."""

from __future__ import annotations

import logging
import time
from typing import Any, Final, NoReturn

from celery import Celery
from celery.events import EventReceiver
from flower.events import Events
from flower.inspector import Inspector

from service.redaction import Redaction

_LOG = logging.getLogger(__name__)

#: Seconds after a broken connection until the next; Flower's own wait doubles each time, to hours in a long outage.
AGAIN: Final = 5.0


class MaskedEvents(Events):
    """Events of tasks and workers, masked before anything reads them."""

    def __init__(self, app: Celery, redaction: Redaction, **arguments: Any) -> None:
        """As Flower makes its own; `arguments` are Flower's."""
        super().__init__(app, **arguments)
        self._redaction = redaction

    def run(self) -> NoReturn:
        """Listen, whatever happens to the broker."""
        while True:
            try:
                with self.capp.connection() as connection:
                    receiver = EventReceiver(connection, handlers={"*": self.on_event}, app=self.capp)
                    receiver.capture(limit=None, timeout=None, wakeup=True)
            except Exception as error:  # noqa: BLE001  whatever a cluster in trouble raises, the page outlives it
                _LOG.warning("no events are heard, trying again in %g s: %s: %s", AGAIN, type(error).__name__, error)
            time.sleep(AGAIN)

    def on_event(self, event: dict[str, Any]) -> None:
        """Remember an event."""
        super().on_event(self._redaction.value(event))


class MaskedInspector(Inspector):
    """Answers of workers, masked: what they run, wait with, and are configured to."""

    def __init__(self, redaction: Redaction, *arguments: Any) -> None:
        """As Flower makes its own; `arguments` are Flower's."""
        super().__init__(*arguments)
        self._redaction = redaction

    def _on_update(self, workername: str, method: str, response: Any) -> None:
        super()._on_update(workername, method, self._redaction.value(response))
