"""What Celery's worker does with messages that it cannot run: on the dead list with a reason, or back for others.

Celery rejects or acknowledges them, and they are gone. An app gets it by
`app.steps["consumer"].add(BadMessages)`. With the setting `worker_message_limit` (not Celery's), bodies of more bytes
are not run either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from kombu.exceptions import ContentDisallowed

from .deadlist import Cause, word
from .naming import process_name

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
        parent.on_unknown_message = _then(_not_a_task, parent.on_unknown_message)
        parent.on_unknown_task = _then(_unknown, parent.on_unknown_task)
        limit = parent.app.conf.get("worker_message_limit")
        if limit is not None:
            parent.create_task_handler = _limited(parent.create_task_handler, int(limit))


def _then(settle: Callable[..., bool], celerys: Callable[..., None]) -> Callable[..., None]:
    """Settle a message of this transport, then let Celery report it; what is settled it cannot throw away."""

    def handler(*arguments: Any) -> None:
        message = next(argument for argument in arguments if hasattr(argument, "delivery_tag"))
        error = arguments[-1] if isinstance(arguments[-1], Exception) else None
        if not hasattr(message.channel, "retire") or settle(message, error):
            celerys(*arguments)

    return handler


def _limited(make: Callable[..., Callable[[Any], None]], limit: int) -> Callable[..., Callable[[Any], None]]:
    """Celery's handler of messages, for those whose body has at most `limit` bytes."""

    def create(*arguments: Any, **options: Any) -> Callable[[Any], None]:
        handle = make(*arguments, **options)

        def handler(message: Any) -> None:
            size = len(message.body)
            if size <= limit or not hasattr(message.channel, "retire"):
                handle(message)
                return
            name = (message.headers or {}).get("task")
            logger.error("task %s: its body of %d bytes is above the limit of %d: dead", name, size, limit)
            _retire(message, "oversized", ValueError(f"{size} bytes, the limit is {limit}"))

        return handler

    return create


def _retire(message: Any, reason: str, error: Exception | None) -> None:
    cause = Cause("" if error is None else repr(error), worker=process_name())
    message.channel.retire(message, word(reason, cause))


def _undecodable(message: Any, error: Exception | None) -> bool:
    _retire(message, "undecodable", error)
    return True


def _invalid(message: Any, error: Exception | None) -> bool:
    _retire(message, "refused" if isinstance(error, ContentDisallowed) else "invalid-task", error)
    return True


def _not_a_task(message: Any, error: Exception | None) -> bool:
    _retire(message, "not-a-task", error)
    return True


def _unknown(message: Any, error: Exception | None) -> bool:
    delay = unknown_delay(message.channel.returns(message))
    if delay is None:
        _retire(message, "unknown-task", error)
        return True
    name = (message.headers or {}).get("task")
    logger.warning("no task %s here: offered again in %.0f s, to a worker that may know it", name, delay)
    message.channel.retire(message, None, delay)
    return False
