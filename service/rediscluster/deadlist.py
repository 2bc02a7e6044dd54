"""The dead lists: what the queues gave up, each message with its reason, to be read, removed and published again.

A reason is one word. Where a task failed, its `Cause` follows the word behind a colon, packed so that the whole stays
one word: whoever buries a message moves it and says why in a single step.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha1
from typing import Any
from uuid import uuid4

from .broker import Broker, Delivery
from .keys import QueueKeys
from .options import parse

#: Characters of an exception's text, and of the end of its traceback, that are kept.
EXCEPTION_LENGTH, TRACEBACK_LENGTH = 2_000, 16_000
#: The reason of an entry that no version of this transport wrote.
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Cause:
    """How a task failed.

    Attributes:
        exception: The exception as `repr` shows it, at most `EXCEPTION_LENGTH` characters.
        traceback: The end of its traceback, at most `TRACEBACK_LENGTH` characters.
        worker: Celery's name of the worker.
    """

    exception: str = ""
    traceback: str = ""
    worker: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exception", self.exception[:EXCEPTION_LENGTH])
        object.__setattr__(self, "traceback", self.traceback[-TRACEBACK_LENGTH:])


@dataclass(frozen=True)
class DeadMessage:
    """An entry of a dead list.

    Attributes:
        place: The queue part in whose list it is.
        reason: One word.
        cause: How its task failed; empty where no task ran.
        message_id: Identifies the message, and with it this entry.
        died: Unix time in milliseconds.
        priority: 0-10.
        losses: How often it was lost or requeued.
        returns: How often it was given back, for whatever reason.
        payload: The message as published.
        member: The entry itself.
    """

    place: QueueKeys
    reason: str
    cause: Cause
    message_id: str
    died: int
    priority: int
    losses: int
    returns: int
    payload: bytes
    member: bytes


def word(reason: str, cause: Cause) -> str:
    """Reason and cause as the one word that `lua/bury.lua` takes."""
    packed = zlib.compress(json.dumps(asdict(cause)).encode())
    return f"{reason}:{b64encode(packed).decode()}"


def read(place: QueueKeys, member: bytes, score: float) -> DeadMessage:
    """An entry from what the sorted set holds; one that cannot be understood is an entry too."""
    try:
        first, message = member.split(b" ", 1)
        reason, _, packed = first.decode().partition(":")
        cause = Cause(**json.loads(zlib.decompress(b64decode(packed)))) if packed else Cause()
        identity, priority, _, losses, returns, payload = message.split(b":", 5)
        counts = int(priority), int(losses), int(returns)
        return DeadMessage(place, reason, cause, identity.decode(), int(score), *counts, payload, member)
    except (ValueError, TypeError, zlib.error):
        identity_of = sha1(member, usedforsecurity=False).hexdigest()
        return DeadMessage(place, UNREADABLE, Cause(), identity_of, int(score), 0, 0, 0, member, member)


class DeadLists:
    """The dead lists of a cluster. Methods may be called from any thread."""

    def __init__(self, url: str, transport_options: Mapping[str, Any] | None = None) -> None:
        """Connects on first use.

        Raises:
            ConfigurationError: The URL or an option is wrong.
        """
        self._broker = Broker(parse(url, transport_options))
        self._broker.cluster.purpose = "inspect"

    def places(self, queue: str) -> Sequence[QueueKeys]:
        """The parts of a queue, each with a list of its own."""
        return self._broker.parts(queue)

    def read(self, place: QueueKeys, start: int, limit: int) -> list[DeadMessage]:
        """Up to `limit` entries behind the first `start` ones, the oldest first.

        Raises:
            ClusterUnavailableError: The shard did not answer before the deadline.
        """
        call = self._broker.cluster.call
        reply = call(place.dead, "ZRANGE", place.dead, start, start + limit - 1, "WITHSCORES")
        # The sentinel is not a message.
        return [read(place, reply[i], float(reply[i + 1])) for i in range(0, len(reply), 2) if reply[i]]

    def remove(self, message: DeadMessage) -> None:
        """Take an entry off its list, if it is still there.

        Raises:
            ClusterUnavailableError: The shard did not answer before the deadline.
        """
        self._broker.cluster.call(message.place.dead, "ZREM", message.place.dead, message.member)

    def publish_once(
        self, queue: str, payload: bytes, *, identity: str, task_id: str, priority: int, remember: float
    ) -> bool:
        """Publish a message that had died, once however often this is called for it.

        Args:
            queue: Where to.
            payload: The message.
            identity: Names the entry that is published again.
            task_id: Copies of one task go to one part of a split queue.
            priority: 0-10.
            remember: Seconds for which the queue remembers `identity`.

        Returns:
            Whether it was published now; False when an earlier call had.

        Raises:
            ClusterUnavailableError: Not confirmed within the deadline; calling again is safe.
            redis.exceptions.OutOfMemoryError: The memory is full; it was not published.
        """
        broker = self._broker
        place = broker.part_of(queue, task_id)
        if not broker.exists(place):
            broker.declare(place)
        args = (place.wake, identity, int(remember * 1000), uuid4().hex, priority, payload)
        replicas = broker.options.durable_replicas
        return bool(broker._script("replay", place, lambda _: args, replicas=replicas))

    def completed(self, queue: str, task_id: str) -> bool:
        """Whether a task that completes once (`once=True`) did so in a queue, as far as that remembers.

        Raises:
            ClusterUnavailableError: The shard did not answer before the deadline.
        """
        key = self._broker.part_of(queue, task_id).completed
        return bool(self._broker.cluster.call(key, "HEXISTS", key, task_id))

    def was_published(self, queue: str, *, identity: str, task_id: str) -> bool:
        """Whether `publish_once` has published an entry to a queue, as far as that remembers.

        Raises:
            ClusterUnavailableError: The shard did not answer before the deadline.
        """
        meta = self._broker.part_of(queue, task_id).meta
        # The name is that of `lua/replay.lua`.
        return bool(self._broker.cluster.call(meta, "HEXISTS", meta, f"lane:dead-{identity}"))

    def close(self) -> None:
        """Close the connections."""
        self._broker.cluster.close()


def report(broker: Broker, delivery: Delivery, reason: str) -> None:
    """Put a message on its queue's dead list that was acknowledged before its task failed; repeating changes nothing.

    Raises:
        NoQueueError: The queue was deleted meanwhile.
        ClusterUnavailableError: It did not work now.
    """
    head = f"{delivery.ack.message_id}:{delivery.priority}:0:{delivery.losses}:{delivery.returns}:"
    member = f"{reason} {head}".encode() + delivery.payload
    broker._script("report", delivery.queue, lambda _: (member,), deadline=0)
