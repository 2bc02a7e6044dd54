"""What Celery's worker does with messages that it cannot run: on the dead list with a reason, or back for others.

Celery rejects or acknowledges them, and they are gone. An app gets it by
`app.steps["consumer"].add(BadMessages)`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import bootsteps

logger = logging.getLogger(__name__)

#: Seconds before a task that no worker here knows is offered again: doubled each time, up to a minute.
FIRST_DELAY, LONGEST_DELAY = 5.0, 60.0
#: Seconds for which it is offered: during a rolling deployment old workers meet new tasks.
UNKNOWN_FOR = 15 * 60.0


def unknown_delay(returns: int) -> float | None:
    """Seconds before an unknown task is offered again.

    Args:
        returns: How often it has been given back.

    Returns:
        The delay, or None when it has been offered for a quarter of an hour.
    """
    delays = [min(FIRST_DELAY * 2.0 ** min(number, 16), LONGEST_DELAY) for number in range(returns + 1)]
    return delays[-1] if sum(delays) <= UNKNOWN_FOR else None


class BadMessages(bootsteps.Step):
    """Replaces the consumer's handlers of messages that it cannot run, on this transport only."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        """Replace them before the consumer connects."""
        super().__init__(parent, **kwargs)
        parent.on_decode_error = _then(_undecodable, parent.on_decode_error)
        parent.on_invalid_task = _then(_invalid, parent.on_invalid_task)
        parent.on_unknown_task = _then(_unknown, parent.on_unknown_task)


def _then(settle: Callable[..., bool], celerys: Callable[..., None]) -> Callable[..., None]:
    """Settle a message of this transport, then let Celery report it; what is settled it cannot throw away."""

    def handler(*arguments: Any) -> None:
        message = next(argument for argument in arguments if hasattr(argument, "delivery_tag"))
        if not hasattr(message.channel, "retire") or settle(message):
            celerys(*arguments)

    return handler


def _undecodable(message: Any) -> bool:
    message.channel.retire(message, "undecodable")
    return True


def _invalid(message: Any) -> bool:
    message.channel.retire(message, "refused")
    return True


def _unknown(message: Any) -> bool:
    delay = unknown_delay(message.channel.returns(message))
    if delay is None:
        message.channel.retire(message, "unknown-task")
        return True
    name = (message.headers or {}).get("task")
    logger.warning("no task %s here: offered again in %.0f s, to a worker that may know it", name, delay)
    message.channel.retire(message, None, delay)
    return False
