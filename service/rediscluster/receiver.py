"""Takes messages for the channels of one connection: asks when woken, delivers while there is credit.

One pipe tells the event loop, or a blocked `drain_events`, that there is something to do, whatever it is and whichever
thread found out.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from .activity import place
from .broker import Delivery
from .cluster import backoff
from .errors import is_retryable
from .keys import QueueKeys
from .logs import write_left
from .native import Bell, wait_readable
from .watch import Entries, FanoutReader, Subscription, Watch

if TYPE_CHECKING:
    from .channel import Channel
    from .session import Session

logger = logging.getLogger(__name__)

#: Failed requests in a row after which the log says that a queue cannot be consumed.
STOPPED_AFTER = 2
#: Seconds before a queue is looked at again that another thread of the process was asking.
BUSY = 0.01
#: Seconds that a request may take before its queue is asked more rarely, for the sake of the others.
SLOW = 0.05
#: It then rests for so many times what the request took.
REST = 4
#: Messages leased at once by a consumer without a prefetch limit.
UNLIMITED_BATCH = 20


class Station:
    """A queue that a channel consumes."""

    def __init__(self, receiver: Receiver, channel: Channel, queue: QueueKeys) -> None:
        self.channel = channel
        self.queue = queue
        self.watch = Watch(receiver, queue.wake, queue)
        #: Whether there may be something to take.
        self.look = True
        #: Before this moment, on the monotonic clock, it is not asked: its node is slow, silent or lost.
        self.rests_until = 0.0
        #: Whether the pump waits for the wake token, or for the moment to try again.
        self.armed = False
        #: Whether a token was taken that somebody with credit should have.
        self.token = False
        #: Seconds until something becomes due or expires and it is ours to notice.
        self.due_in: float | None = None
        self.failures = 0


class Receiver:
    """The consuming side of one connection. `wake` and `fanout` are called by the pump, the rest by its owner."""

    def __init__(self, session: Session) -> None:
        """Nothing is asked before the first `add`."""
        self.session = session
        #: Whether an event loop calls `on_readable`; otherwise `get` is called.
        self.in_loop = False
        self._stations: dict[Watch, Station] = {}
        self._subscriptions: dict[str, tuple[Channel, Subscription]] = {}
        self._reader: FanoutReader | None = None
        self._buffer: deque[tuple[Channel, Delivery]] = deque()
        self._broadcasts: deque[tuple[Subscription, bytes, list[bytes]]] = deque()
        self._woken: deque[Watch] = deque()
        self._serving = False
        self._again = False
        self.bell = Bell()

    # -- what is consumed -------------------------------------------------------------------------------------------

    def add(self, channel: Channel, queue: QueueKeys) -> None:
        """Consume a queue, after those added before."""
        station = Station(self, channel, queue)
        self._stations[station.watch] = station
        self.bell.ring()

    def add_fanout(self, channel: Channel, queue: QueueKeys, stream: str, cursor: str) -> None:
        """Consume a queue that is bound to a fanout exchange."""
        self._subscriptions[queue.queue] = (channel, Subscription(queue.queue, stream, cursor))
        self._read_broadcasts()

    def _read_broadcasts(self) -> None:
        if self._reader is not None:
            self.session.pump.close(self._reader)
            self._reader = None
        if self._subscriptions:
            self._reader = FanoutReader(self, [subscription for _, subscription in self._subscriptions.values()])
            self.session.pump.watch(self._reader, self._reader.seconds)

    def remove(self, channel: Channel, queue: QueueKeys) -> None:
        """Stop consuming a queue; what was taken and not delivered goes back."""
        if self._subscriptions.pop(queue.queue, None) is not None:
            self._read_broadcasts()
        for watch, station in list(self._stations.items()):
            if station.channel is channel and station.queue == queue:
                del self._stations[watch]
                self.session.pump.close(watch)
        for _ in range(len(self._buffer)):
            owner, delivery = self._buffer.popleft()
            if owner is channel and delivery.queue == queue:
                channel.return_undelivered(delivery)
            else:
                self._buffer.append((owner, delivery))

    def close(self) -> None:
        """Stop consuming everything."""
        for station in list(self._stations.values()):
            self.remove(station.channel, station.queue)
        self._subscriptions.clear()
        self._read_broadcasts()

    # -- Inbox: called from the pump's thread -----------------------------------------------------------------------

    def wake(self, watch: Watch) -> None:
        """There may be something to do for the watch."""
        self._woken.append(watch)
        self.bell.ring()

    def fanout(self, subscription: Subscription, entries: Entries) -> None:
        """Messages of a fanout exchange arrived for a queue."""
        self._broadcasts.extend((subscription, *entry) for entry in entries)
        self.bell.ring()

    # -- delivering -------------------------------------------------------------------------------------------------

    def acked(self, queue: QueueKeys) -> None:
        """A delivery of the queue was settled: the ack can travel with the request for the next message."""
        consumed = False
        # Any thread may acknowledge.
        for station in list(self._stations.values()):
            if station.queue == queue:
                station.look = True
                consumed = time.monotonic() >= station.rests_until
        if consumed:
            # Not asked for from here: Celery acknowledges from the event loop's deferred calls, and one that is made by
            # a task delivered there would wait until something else wakes the loop.
            self.bell.ring()
        if not (consumed and self.in_loop):
            self.session.pump.nudge()

    def on_readable(self) -> None:
        """The event loop found the pipe readable."""
        self.bell.hear()
        self.serve()

    def get(self, timeout: float | None) -> None:
        """Deliver one message.

        Args:
            timeout: Seconds to wait for it; None waits for ever, 0 looks once.

        Raises:
            TimeoutError: None came.
            redis.exceptions.RedisError: The cluster refused; it does not pass by waiting.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        while not self._deliver_one():
            self.serve()
            if self._deliver_one():
                return
            left = 1.0 if ends is None else ends - time.monotonic()
            if left <= 0:
                raise TimeoutError("no message within the timeout")
            if not self.bell.rung:
                wait_readable([self.bell.fileno], min(left, 1.0))
            self.bell.hear()

    def serve(self) -> None:
        """Ask for messages where there may be some, and deliver them if in an event loop."""
        if self._serving:
            self._again = True
            return
        self._serving = True
        write_left()
        try:
            self._again = False
            while self._woken:
                station = self._stations.get(self._woken.popleft())
                if station is not None:
                    station.armed = False
                    station.rests_until = 0.0
                    station.look = station.token = True
            for station in self._in_order():
                if station.look and time.monotonic() >= station.rests_until:
                    self._ask(station)
            if self.in_loop:
                while self._deliver_one():
                    pass
            for station in list(self._stations.values()):
                self._arm(station)
        finally:
            self._serving = False
            if self._again or self._buffer:
                self.bell.ring()

    def _in_order(self) -> list[Station]:
        """Queues in the order in which they were added; the parts of one in any, so that none waits for another."""
        ranks: dict[str, int] = {}
        for station in self._stations.values():
            ranks.setdefault(station.queue.queue, len(ranks))
        stations = list(self._stations.values())
        if len(ranks) < len(stations):
            random.shuffle(stations)
        return sorted(stations, key=lambda station: ranks[station.queue.queue])

    def _ask(self, station: Station) -> None:
        wanted = station.channel.credit(UNLIMITED_BATCH)
        if wanted <= 0:
            if station.token:
                station.token = False
                self.session.pass_on(station.queue)
            if self.session.line(station.queue).acks:
                # No request takes them along.
                self.session.pump.nudge()
            return
        station.token = False
        started = time.monotonic()
        try:
            settlement = self.session.settle(station.queue, wanted)
        except Exception as error:
            if not is_retryable(error):
                raise
            self._failed(station, error, time.monotonic() - started)
            return
        if settlement is None:
            # Somebody else of this process is at it.
            station.look, station.armed = False, True
            self.session.pump.watch(station.watch, 0.0, after=BUSY)
            return
        if station.failures >= STOPPED_AFTER:
            logger.info("queue %s: messages can be taken again", place(station.queue, self.session.broker.cluster))
        station.failures = 0
        station.due_in = settlement.watch
        station.look = settlement.remaining > 0
        took = time.monotonic() - started
        if took > SLOW and len(self._stations) > 1:
            self._rest(station, REST * took)
        for delivery in settlement.deliveries:
            station.channel.reserve(delivery)
            self._buffer.append((station.channel, delivery))

    def _failed(self, station: Station, error: Exception, took: float) -> None:
        # The pump wakes us when the topology changes.
        self._rest(station, max(backoff(station.failures), 2 * took))
        station.failures += 1
        if station.failures == STOPPED_AFTER:
            where = place(station.queue, self.session.broker.cluster)
            logger.warning("queue %s: no messages can be taken, trying again: %s", where, error)

    def _rest(self, station: Station, seconds: float) -> None:
        """Ask it again after some seconds: it must not take the time of the other queues."""
        station.rests_until = time.monotonic() + seconds
        station.look, station.armed = False, True
        self.session.pump.watch(station.watch, 0.0, after=seconds)

    def _arm(self, station: Station) -> None:
        if station.armed or station.look:
            return
        if station.channel.credit(UNLIMITED_BATCH) <= 0:
            station.look = True
            return
        options = self.session.options
        seconds = min(options.idle_timeout * random.uniform(0.8, 1.2), options.lease / 4)
        if station.due_in is not None:
            seconds = min(seconds, station.due_in)
        station.armed = True
        self.session.pump.watch(station.watch, seconds)

    def _deliver_one(self) -> bool:
        if self._broadcasts:
            subscription, identity, fields = self._broadcasts.popleft()
            queue = subscription.queue
            channel, current = self._subscriptions.get(queue, (None, None))
            if channel is not None and current is subscription:
                self.session.heard(queue, identity.decode())
                channel.deliver_broadcast(queue, dict(zip(fields[::2], fields[1::2], strict=True)))
            return True
        if self._buffer:
            channel, delivery = self._buffer.popleft()
            channel.deliver(delivery)
            return True
        return False

    def describe(self) -> dict[str, Any]:
        """What is consumed, for diagnosis."""
        return {s.queue.queue: {"look": s.look, "armed": s.armed} for s in self._stations.values()}
