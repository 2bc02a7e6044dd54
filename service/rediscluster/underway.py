"""A task that a pool has begun stays this worker's until it is done, also while the worker stops or reconnects.

Celery forgets some then, and acknowledges others late. An app is better off with
`app.steps["consumer"].add(UnderWay)`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import bootsteps

logger = logging.getLogger(__name__)


class UnderWay(bootsteps.Step):
    """Gives the worker a pool that knows what it has given its processes, and lets any thread acknowledge."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        """Called before the pool has started."""
        super().__init__(parent, **kwargs)
        if hasattr(parent.pool, "BlockingPool"):
            # Here, since a process that only publishes has no use for pools.
            from .processes import ProcessPool

            parent.pool.Pool = ProcessPool
        parent.call_soon_ack = _at_once(parent.call_soon_ack)


def _at_once(later: Callable[..., Any]) -> Callable[..., Any]:
    """Celery leaves settling to its event loop, which stands still while a pool of threads ends."""

    def settle(operation: Any, *arguments: Any, **options: Any) -> Any:
        # Any thread may settle, on this transport.
        if not hasattr(operation.__self__.channel, "session"):
            return later(operation, *arguments, **options)
        try:
            return operation(*arguments, **options)
        except Exception:
            # As Celery does for greenlets: in a thread nobody else would say it.
            logger.exception("a message could not be settled")
            return None

    return settle
