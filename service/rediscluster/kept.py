"""Publishes that are named by who makes them, and recognised for ever.

A transport that repeats a publish names it itself, and the queue forgets the name after `dedupe_window`. Some producers
know better: what they publish has a number that only rises, such as the time at which a periodic task is due. Such a
number is stored in one step with the message, in the same slot: whoever publishes it again, from another process or
years later, changes nothing, and a failover that undoes the message undoes the number too. So the number that a queue
has is exactly what was published to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .broker import Broker, NoQueueError
from .keys import QueueKeys
from .lanes import PUBLISH, Publish
from .options import parse


def published_as(lane: str, number: int) -> dict[str, Any]:
    """Options of `apply_async` that name its publish.

    Args:
        lane: Whose numbers these are; it belongs to one queue at a time.
        number: Above 0; a publish is stored if it is higher than that of every earlier one in its lane and queue.
    """
    return {PUBLISH: Publish(lane, number, kept=True)}


class KeptLanes:
    """The kept lanes of a cluster. Methods may be called from any thread.

    They raise `ClusterUnavailableError` when the shard does not answer before the deadline.
    """

    def __init__(self, url: str, transport_options: Mapping[str, Any] | None = None) -> None:
        """Connects on first use.

        Raises:
            ConfigurationError: The URL or an option is wrong.
        """
        self._broker = Broker(parse(url, transport_options))

    def last(self, queue: str, lane: str) -> int | None:
        """The number of the last message that was published in a lane; None if the queue knows none."""
        meta = self._place(queue, lane).meta
        value = self._broker.cluster.call(meta, "HGET", meta, f"lane:{lane}")
        return int(value.split()[0]) if value else None

    def advance(self, queue: str, lane: str, number: int) -> int:
        """Let a lane begin at a number, or go on from where it is if that is higher; returns where it stands."""
        place = self._place(queue, lane)
        try:
            return self._advance(place, lane, number)
        except NoQueueError:
            self._broker.declare(place)
            return self._advance(place, lane, number)

    def close(self) -> None:
        """Close the connections."""
        self._broker.cluster.close()

    def _place(self, queue: str, lane: str) -> QueueKeys:
        return self._broker.part_of(queue, lane)

    def _advance(self, place: QueueKeys, lane: str, number: int) -> int:
        return int(self._broker._script("advance", place, lambda _: (lane, number)))
