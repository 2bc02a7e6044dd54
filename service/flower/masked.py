"""Keeps secrets out of what Flower remembers, and so off every page and out of its API."""

from __future__ import annotations

from typing import Any

from celery import Celery
from flower.events import Events
from flower.inspector import Inspector

from service.redaction import Redaction


class MaskedEvents(Events):
    """Events of tasks and workers, masked before anything reads them."""

    def __init__(self, app: Celery, redaction: Redaction, **arguments: Any) -> None:
        """As Flower makes its own; `arguments` are Flower's."""
        super().__init__(app, **arguments)
        self._redaction = redaction

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
