"""What the log says of messages: one line for many, and never what a task was given or returned."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .activity import Summary, count, place
from .logs import logger_for
from .message_format import unpack

if TYPE_CHECKING:
    from .broker import Delivery
    from .cluster import Cluster
    from .keys import QueueKeys

logger = logger_for(__name__)

_TAKEN_AGAIN = Summary(
    logger, logging.WARNING, "queue %s: took %d messages that a holder had lost or requeued, the last %s"
)
_BURIED = Summary(logger, logging.WARNING, "queue %s: %d messages go to the dead list, the last %s")
_REPEATED = Summary(
    logger, logging.INFO, "queue %s: %d publishes had been stored by an attempt whose reply was lost, the last %s"
)
_UNKNOWN = Summary(logger, logging.ERROR, "queue %s: %d publishes failed and may have been stored, the last %s")
_LEASE_LOST = Summary(
    logger, logging.WARNING, "queue %s: %d leases of ours ended, another worker may run the task too, the last %s"
)


def taken_again(cluster: Cluster, deliveries: Iterable[Delivery], limit: int) -> None:
    """Messages were taken; some of them not for the first time."""
    for delivery in deliveries:
        if delivery.losses:
            count("taken_again")
            _TAKEN_AGAIN.add(
                place(delivery.queue, cluster), f"{_message(delivery)}, lost {delivery.losses} times of at most {limit}"
            )


def buried(cluster: Cluster, delivery: Delivery, reason: str) -> None:
    """A message of ours goes to the dead list; what stands behind the colon of a reason is not for the log."""
    count("buried")
    _BURIED.add(place(delivery.queue, cluster), f"{_message(delivery)}, {reason.partition(':')[0]}")


def lease_lost(cluster: Cluster, delivery: Delivery) -> None:
    """Somebody else may hold a message that we work on."""
    count("leases_lost")
    _LEASE_LOST.add(place(delivery.queue, cluster), _message(delivery))


def publish_repeated(cluster: Cluster, queue: QueueKeys, message: Mapping[str, Any]) -> None:
    """A publish was stored once, by an earlier attempt than the last."""
    count("publishes_repeated")
    _REPEATED.add(place(queue, cluster), _task(message.get("headers")))


def publish_unknown(cluster: Cluster, queue: QueueKeys, message: Mapping[str, Any], error: Exception) -> None:
    """A publish failed and may have been stored all the same."""
    count("publishes_unknown")
    _UNKNOWN.add(place(queue, cluster), f"{_task(message.get('headers'))}: {error}")


def _message(delivery: Delivery) -> str:
    try:
        headers = unpack(delivery.payload).get("headers")
    except ValueError:
        headers = None
    return f"{_task(headers)} (message {delivery.ack.message_id})"


def _task(headers: Any) -> str:
    if isinstance(headers, dict) and headers.get("id"):
        return f"{headers.get('task')}[{headers['id']}]"
    return "not a task"
