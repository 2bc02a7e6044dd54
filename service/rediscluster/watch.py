"""What the pump waits for on behalf of a consumer, each on a connection of its own."""

from __future__ import annotations

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

#: Entries of a stream: id and fields.
Entries = list[tuple[bytes, list[bytes]]]


class Inbox(Protocol):
    """What the pump tells a consumer; called from the pump's thread."""

    def wake(self, watch: Watch) -> None:
        """There may be something to do for the watch; it no longer blocks."""

    def fanout(self, reader: FanoutReader, entries: Entries) -> None:
        """Messages of a fanout exchange arrived."""


class Watch:
    """Waits for a queue's wake token on a connection of its own."""

    purpose: ClassVar[Purpose] = "wake"

    def __init__(self, inbox: Inbox, queue: QueueKeys) -> None:
        self.inbox = inbox
        self.queue = queue
        self.failures = 0
        self.closed = False
        self._seconds = 0.0

    @property
    def key(self) -> str:
        """The key on which it blocks."""
        return self.queue.wake

    def command(self, broker: Broker) -> tuple[Any, ...]:
        """The blocking command."""
        return ("BLPOP", self.queue.wake, f"{self._seconds:.3f}")

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


class FanoutReader(Watch):
    """Reads the stream of a fanout exchange from where it was bound."""

    purpose: ClassVar[Purpose] = "fanout"

    def __init__(self, inbox: Inbox, queue: QueueKeys, stream: str, cursor: str) -> None:
        super().__init__(inbox, queue)
        self.stream = stream
        self.cursor = cursor
        self._seconds = FANOUT_BLOCK

    @property
    def key(self) -> str:
        """The key on which it blocks."""
        return self.stream

    def command(self, broker: Broker) -> tuple[Any, ...]:
        """The blocking command."""
        if self.failures:
            # After a failover the new primary may not have come as far: waiting for a later id would miss messages.
            known = last_id(broker, self.stream)
            earlier = clamp(self.cursor, known)
            if earlier != self.cursor:
                count("fanout_clamped")
                logger.info(
                    "broadcasts in %s on %s: its primary knows %s and had sent %s; reading goes on from there",
                    self.stream,
                    broker.cluster.where(self.stream),
                    known,
                    self.cursor,
                )
            self.cursor = earlier
        return ("XREAD", "COUNT", 200, "BLOCK", int(self._seconds * 1000), "STREAMS", self.stream, self.cursor)

    def answered(self, reply: Any) -> bool:
        """Take the reply of the command; returns whether to block again at once."""
        for _, entries in reply or ():
            self.cursor = entries[-1][0].decode()
            self.inbox.fanout(self, entries)
        return True

    def failed(self) -> None:
        """Nobody needs to know: reading goes on from the cursor."""


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


def clamp(cursor: str, last: str) -> str:
    """The earlier one of two stream ids, unless the stream is gone (`0-0`: everything in it will be new)."""

    def order(identity: str) -> tuple[int, ...]:
        return tuple(int(part) for part in identity.split("-"))

    return min(cursor, last, key=order)
