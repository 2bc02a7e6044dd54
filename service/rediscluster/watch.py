"""What the pump waits for on behalf of a consumer, each on a connection of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, ClassVar, Protocol

from redis import exceptions

from .activity import count
from .broker import Broker
from .keys import QueueKeys
from .logs import logger_for
from .naming import Purpose

logger = logger_for(__name__)

#: Seconds a fanout reader blocks.
FANOUT_BLOCK = 30.0

#: Seconds for one stream when they are read in turn.
TURN = 1.0

#: Entries of a stream: id and fields.
Entries = list[tuple[bytes, list[bytes]]]


class Inbox(Protocol):
    """What the pump tells a consumer; called from the pump's thread."""

    def wake(self, watch: Watch) -> None:
        """There may be something to do for the watch; it no longer blocks."""

    def fanout(self, subscription: Subscription, entries: Entries) -> None:
        """Messages of a fanout exchange arrived for a queue."""


class Watch:
    """Waits for a queue's wake token on a connection of its own."""

    purpose: ClassVar[Purpose] = "wake"

    def __init__(self, inbox: Inbox, key: str, queue: QueueKeys | None = None) -> None:
        self.inbox = inbox
        #: The key on which it blocks.
        self.key = key
        #: The queue whose wake token that is.
        self.queue = queue
        self.failures = 0
        self.closed = False
        self._seconds = 0.0

    def command(self, broker: Broker) -> tuple[Any, ...]:
        """The blocking command."""
        return ("BLPOP", self.key, f"{self._seconds:.3f}")

    @property
    def seconds(self) -> float:
        """How long the command blocks at most."""
        return self._seconds

    def block_for(self, seconds: float) -> None:
        """Block that long the next time."""
        self._seconds = max(seconds, 0.001)

    def answered(self, reply: Any) -> bool:
        """Take the reply of the command; returns whether to block again at once."""
        self.inbox.wake(self)
        return False

    def failed(self) -> None:
        """The connection was lost; the consumer finds out by looking."""
        self.inbox.wake(self)


@dataclass
class Subscription:
    """A queue that is bound to a fanout exchange.

    Attributes:
        queue: Its name.
        stream: The exchange's stream.
        cursor: The id of the last entry that was read.
    """

    queue: str
    stream: str
    cursor: str


class FanoutReader(Watch):
    """Reads the streams of fanout exchanges, which are all in one slot, from where their queues were bound.

    For other subscriptions there is another reader: a blocked command cannot be told of them.
    """

    purpose: ClassVar[Purpose] = "fanout"

    def __init__(self, inbox: Inbox, subscriptions: Sequence[Subscription]) -> None:
        super().__init__(inbox, subscriptions[0].stream)
        self.subscriptions = subscriptions
        self._turns = cycle(dict.fromkeys(subscription.stream for subscription in subscriptions))
        self._seconds = FANOUT_BLOCK

    def command(self, broker: Broker) -> tuple[Any, ...]:
        """The blocking command."""
        if self.failures:
            for subscription in self.subscriptions:
                self._clamp(subscription, broker)
        cursors: dict[str, str] = {}
        for subscription in self.subscriptions:
            stream = subscription.stream
            cursors[stream] = earlier(subscription.cursor, cursors.get(stream, subscription.cursor))
        seconds = self._seconds
        if self.failures:
            # In a slot that is moving, a command about several keys fails if one is not there: read them in turn.
            stream = next(self._turns)
            cursors, seconds = {stream: cursors[stream]}, min(TURN, seconds)
        block = int(seconds * 1000)
        return ("XREAD", "COUNT", 200, "BLOCK", block, "STREAMS", *cursors, *cursors.values())

    @staticmethod
    def _clamp(subscription: Subscription, broker: Broker) -> None:
        # After a failover the new primary may not have come as far: waiting for a later id would miss messages.
        known = last_id(broker, subscription.stream)
        cursor = earlier(subscription.cursor, known)
        if cursor != subscription.cursor:
            count("fanout_clamped")
            logger.info(
                "broadcasts in %s on %s: its primary knows %s and had sent %s; reading goes on from there",
                subscription.stream,
                broker.cluster.where(subscription.stream),
                known,
                subscription.cursor,
            )
        subscription.cursor = cursor

    def answered(self, reply: Any) -> bool:
        """Take the reply of the command; returns whether to block again at once."""
        for stream, entries in reply or ():
            last = entries[-1][0].decode()
            for subscription in self.subscriptions:
                if subscription.stream == stream.decode():
                    read = _order(subscription.cursor)
                    new = [entry for entry in entries if _order(entry[0].decode()) > read]
                    subscription.cursor = last if _order(last) > read else subscription.cursor
                    self.inbox.fanout(subscription, new)
        return True

    def failed(self) -> None:
        """Nobody needs to know: reading goes on from the cursors."""


def last_id(broker: Broker, stream: str) -> str:
    """The id of a stream's last entry; `0-0` for a stream that is not there."""
    try:
        info = broker.cluster.once(stream, "XINFO", "STREAM", stream)
    except exceptions.ResponseError as error:
        if "no such key" in str(error):
            return "0-0"
        raise
    fields = info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))
    value = fields.get(b"last-generated-id", fields.get("last-generated-id", b"0-0"))
    return value.decode() if isinstance(value, bytes) else str(value)


def earlier(one: str, other: str) -> str:
    """The earlier one of two stream ids. Of a stream that is gone (`0-0`) everything will be new."""
    return min(one, other, key=_order)


def _order(identity: str) -> tuple[int, ...]:
    return tuple(int(part) for part in identity.split("-"))
