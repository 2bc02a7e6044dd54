"""The configuration of Flower, Celery's web page."""

from __future__ import annotations

from infra.config.tasks import Task


class Flower(Task):
    """The service that shows workers and tasks.

    Attributes:
        enabled: Whether there is one.
        read_only: Whether it refuses to change anything: revoke, send, limit, stop.
        events: Whether workers tell it about each task, which costs messages.
    """

    enabled: bool
    read_only: bool
    events: bool
