"""What this process holds: one session per cluster, whatever connections and channels come and go.

Leases belong to the session and not to a channel: closing a channel on reconnect must not give running tasks away, and
an acknowledgement through a closed channel must arrive.
"""

from __future__ import annotations

import atexit
import math
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from redis import exceptions

from . import notes
from .activity import count, place
from .broker import DELIVERY_LIMIT, Ack, Binding, Broker, Delivery, NoQueueError, Settlement
from .checks import check_quietly
from .cluster import backoff
from .errors import is_retryable
from .keys import QueueKeys
from .logs import logger_for
from .naming import process_name
from .native import Gate, in_native_thread
from .options import Options
from .pump import Pump

logger = logger_for(__name__)

#: Seconds of acks that are repeated when a primary changed: the old one may not have replicated them.
REPEAT_ACKS = 5.0
#: Acks sent in one request at most.
ACK_BATCH = 1000
#: Fanout queues whose place is remembered at most; the oldest are forgotten.
FANOUT_QUEUES = 256
#: Seconds for which the end of the process waits until everything is given back.
FAREWELL = 5.0


class Line:
    """What is under way with one queue part: acks to send, and the request whose outcome is unknown."""

    def __init__(self, queue: QueueKeys) -> None:
        self.queue = queue
        self.gate = Gate()
        self.acks: deque[Ack] = deque()
        #: Acks that were sent, and when: they outlast a failover, since only a later answer of this queue ends them.
        self.recent: deque[tuple[float, Ack]] = deque()
        self.next_lease = 1
        #: First lease number, how many, and attempt of a request that must be repeated as it was.
        self.unanswered: tuple[int, int, int] | None = None
        #: Operations that failed for the moment, to be tried again.
        self.postponed: deque[Callable[[Broker], object]] = deque()

    def take_recent(self, until: float = math.inf) -> list[Ack]:
        """Remove and return the acks that were sent before `until`, on the monotonic clock."""
        taken: list[Ack] = []
        # Other threads take from it too, and a deque cannot be walked while they do.
        while self.recent:
            try:
                entry = self.recent.popleft()
            except IndexError:
                break
            if entry[0] >= until:
                self.recent.appendleft(entry)
                break
            taken.append(entry[1])
        return taken


class Temporary:
    """A queue of ours that goes away unless we say in time that we still consume it."""

    def __init__(self, expires_ms: int, bindings: list[tuple[str, Binding]]) -> None:
        self.expires_ms = expires_ms
        self.bindings = bindings
        self.refresh_at = time.monotonic() + expires_ms / 3000


class Session:
    """The leases of this process on one cluster. Methods may be called from any thread."""

    def __init__(self, options: Options) -> None:
        """Connects on first use."""
        self.options = options
        self._token = uuid4().hex[:12]
        self._id: str | None = None
        self.pid = os.getpid()
        self._checked = False
        self.broker = Broker(options)
        self.held: dict[str, Delivery] = {}
        self.lines: dict[QueueKeys, Line] = {}
        #: How far each fanout queue of this process has been read.
        self.fanout_cursors: dict[str, str] = {}
        #: Since when the leases of a queue cannot be renewed, on the monotonic clock.
        self._silent: dict[QueueKeys, float] = {}
        #: When the cluster last answered, on the monotonic clock.
        self.answered_at = time.monotonic()
        #: Deliveries whose lease is known to be lost.
        self._lost: set[str] = set()
        self._temporary: dict[QueueKeys, Temporary] = {}
        self._watched: dict[str, weakref.ref[Any]] = {}
        self._dropped: deque[str] = deque()
        self.pump = Pump(self)
        self._closing = Gate()
        self.broker.cluster.on_change = self.on_topology_change

    @property
    def id(self) -> str:
        """What stands in the names of this session's leases: no other has it, and it tells the worker."""
        if self._id is None:
            # Not sooner than it is needed: Celery names its worker late.
            self._id = f"{self._token}@{process_name()}"
        return self._id

    def connect(self) -> None:
        """Read the topology, which proves that the cluster is there and knows us; look at its servers once.

        Raises:
            ClusterUnavailableError: No node answered.
            ConfigurationError: The address is not a cluster, the credentials are wrong, or a server is too old.
        """
        self.broker.cluster.refresh(at_most_every=1.0)
        if not self._checked:
            self._checked = check_quietly(self.broker.cluster)

    @property
    def failing_since(self) -> float | None:
        """Since when leases of a queue could not be renewed, on the monotonic clock; None when all could."""
        return min(list(self._silent.values()), default=None)

    def line(self, queue: QueueKeys) -> Line:
        """The line of a queue part."""
        line = self.lines.get(queue)
        return self.lines.setdefault(queue, Line(queue)) if line is None else line

    # -- taking and acknowledging -----------------------------------------------------------------------------------

    def settle(self, queue: QueueKeys, wanted: int, broker: Broker | None = None) -> Settlement | None:
        """Send the acks of a queue and lease up to `wanted` messages, in one attempt.

        Returns:
            What came, or None when another thread is at it. It can be more than was wanted: what an earlier request
            had asked for whose reply was lost.

        Raises:
            redis.exceptions.RedisError: It did not work now; see `errors.is_retryable`. Acks stay and the same leases
                are asked for next time.
        """
        line = self.line(queue)
        if not line.gate.try_enter():
            return None
        try:
            return self._settle(line, wanted, broker or self.broker)
        finally:
            line.gate.leave()

    def _settle(self, line: Line, wanted: int, broker: Broker) -> Settlement:
        acks = [line.acks[i] for i in range(min(len(line.acks), ACK_BATCH))]
        if line.unanswered is not None:
            first, wanted, attempt = line.unanswered
        else:
            first, attempt = line.next_lease, 0
            line.next_lease += max(wanted, 0)
        try:
            try:
                settlement = broker.settle(line.queue, self.id, wanted, first, acks, attempt)
            except NoQueueError:
                ours = self._temporary.get(line.queue)
                if wanted <= 0 or (ours is None and broker.was_temporary(line.queue)):
                    # Deleted or expired: neither acks nor a last look must make it again, for ever.
                    line.acks.clear()
                    line.unanswered = None
                    return Settlement([], 0, None)
                broker.declare(line.queue, None if ours is None else ours.expires_ms)
                settlement = broker.settle(line.queue, self.id, wanted, first, acks, attempt)
        except BaseException as error:
            # Whatever the server did not refuse may have been executed: a soft time limit can interrupt the wait too.
            refused = isinstance(error, (NoQueueError, exceptions.ResponseError)) and not is_retryable(error)
            if wanted > 0 and not refused:
                line.unanswered = (first, wanted, attempt + 1)
            raise
        line.unanswered = None
        now = self.answered_at = time.monotonic()
        for _ in acks:
            line.recent.append((now, line.acks.popleft()))
        line.take_recent(until=now - REPEAT_ACKS)
        for delivery in settlement.deliveries:
            self.held[delivery.tag] = delivery
        notes.taken_again(broker.cluster, settlement.deliveries, self.options.delivery_limit)
        if settlement.deliveries:
            self.pump.start()
        return settlement

    def pass_on(self, queue: QueueKeys, broker: Broker | None = None) -> None:
        """Leave messages and the clock of a queue to other consumers: wake one if there is something to do."""
        try:
            settlement = self.settle(queue, -1, broker)
        except (exceptions.RedisError, OSError) as error:
            # They look by themselves when their idle timeout ends.
            logger.debug("cannot hand on %s: %s", queue.queue, error)
            return
        for delivery in settlement.deliveries if settlement else ():
            self._forget(delivery.tag)
            self.line(queue).postponed.append(_returning(delivery))
            self.pump.nudge()

    def take(self, queue: QueueKeys, deadline: float) -> Delivery | None:
        """Lease one message, waiting out failovers for `deadline` seconds.

        Raises:
            redis.exceptions.RedisError: It did not work before the deadline.
        """
        ends = time.monotonic() + deadline
        attempt = 0
        while True:
            try:
                settlement = self.settle(queue, 1)
            except Exception as error:
                if not is_retryable(error) or time.monotonic() > ends:
                    raise
                time.sleep(backoff(attempt))
                attempt += 1
            else:
                if settlement is not None:
                    self.give_back_all(settlement.deliveries[1:])
                    return settlement.deliveries[0] if settlement.deliveries else None
                time.sleep(0.002)

    def ack(self, tag: str) -> QueueKeys | None:
        """Note that the work of a delivery is done; the next round sends it, or the pump within 0.1 s.

        Returns:
            The queue, or None when the delivery was settled before.
        """
        delivery = self._forget(tag)
        if delivery is None:
            return None
        self.line(delivery.queue).acks.append(delivery.ack)
        return delivery.queue

    def give_back(self, tag: str, *, lost: bool, delay: float = 0.0) -> QueueKeys | None:
        """Return a message to its place; with `lost` it counts against the delivery limit. Returns its queue."""
        delivery = self._forget(tag)
        if delivery is None:
            return None
        leases = [delivery.ack.lease]
        queue = delivery.queue
        if lost and delivery.losses >= self.options.delivery_limit:
            notes.buried(self.broker.cluster, delivery, DELIVERY_LIMIT)
        self._do(queue, lambda broker: broker.release(queue, leases, lost=lost, delay=delay, deadline=0))
        return queue

    def give_back_all(self, deliveries: Iterable[Delivery]) -> None:
        """Return messages that nobody here can take."""
        for delivery in deliveries:
            self.give_back(delivery.tag, lost=False)

    def bury(self, tag: str, reason: str) -> QueueKeys | None:
        """Move a message to the dead list. Returns its queue."""
        delivery = self._forget(tag)
        if delivery is None:
            return None
        leases = [delivery.ack.lease]
        queue = delivery.queue
        notes.buried(self.broker.cluster, delivery, reason)
        self._do(queue, lambda broker: broker.bury(queue, leases, reason, deadline=0))
        return queue

    def _do(self, queue: QueueKeys, operation: Callable[[Broker], object]) -> None:
        try:
            operation(self.broker)
        except NoQueueError:
            return
        except Exception as error:
            if not is_retryable(error):
                raise
            self.line(queue).postponed.append(operation)
            self.pump.nudge()

    def _forget(self, tag: str) -> Delivery | None:
        self._watched.pop(tag, None)
        return self.held.pop(tag, None)

    # -- messages that nobody refers to any more --------------------------------------------------------------------

    def watch(self, message: Any, tag: str, dropped: Callable[[str], None]) -> None:
        """Give the delivery back when its message object is collected without having been settled.

        That is how messages come back that Celery dropped when it lost its connection. `dropped` is told the tag; it
        runs inside the garbage collector.
        """

        def collected(_: object, tag: str = tag) -> None:
            # Runs inside the garbage collector: no I/O here.
            if tag in self.held and os.getpid() == self.pid:
                self._dropped.append(tag)
                self.pump.nudge()
                dropped(tag)

        self._watched[tag] = weakref.ref(message, collected)

    # -- temporary queues -------------------------------------------------------------------------------------------

    def keep_temporary(self, queue: QueueKeys, expires_ms: int, bindings: list[tuple[str, Binding]]) -> None:
        """Keep a queue with x-expires and its bindings alive while it is consumed."""
        self._temporary[queue] = Temporary(expires_ms, bindings)
        self.pump.start()

    def forget_temporary(self, queue: QueueKeys) -> None:
        """Let it go away in its time."""
        self._temporary.pop(queue, None)

    def heard(self, queue: str, identity: str) -> None:
        """Note how far a fanout queue has been read."""
        self.fanout_cursors[queue] = identity
        while len(self.fanout_cursors) > FANOUT_QUEUES:
            self.fanout_cursors.pop(next(iter(self.fanout_cursors)))

    def refresh_temporary(self, broker: Broker) -> float:
        """Prolong what is due; returns the moment of the next, on the monotonic clock; infinity for none."""
        for queue, temporary in list(self._temporary.items()):
            if time.monotonic() < temporary.refresh_at:
                continue
            try:
                broker.touch(queue, temporary.expires_ms, deadline=0)
                for exchange, binding in temporary.bindings:
                    broker.bind(exchange, binding, temporary.expires_ms, deadline=0)
            except (exceptions.RedisError, OSError) as error:
                logger.debug("%s not prolonged: %s", queue.queue, error)
                temporary.refresh_at = time.monotonic() + 0.5
            else:
                temporary.refresh_at = time.monotonic() + temporary.expires_ms / 3000
        return min((t.refresh_at for t in list(self._temporary.values())), default=math.inf)

    # -- upkeep, called by the pump ---------------------------------------------------------------------------------

    def on_topology_change(self) -> None:
        """A primary may have changed: repeat the last acks and let every consumer look."""
        for line in list(self.lines.values()):
            recent = line.take_recent()
            line.acks.extend(recent)
            if recent:
                self.pump.nudge()
        self.pump.look_everywhere()

    def unsent(self) -> bool:
        """Whether acks or postponed operations wait."""
        return any(line.acks or line.postponed for line in list(self.lines.values()))

    def flush(self, broker: Broker) -> None:
        """Send what waits, in one attempt; what fails waits on."""
        while self._dropped:
            delivery = self._forget(self._dropped.popleft())
            if delivery is not None:
                self.line(delivery.queue).postponed.append(_returning(delivery))
        for line in list(self.lines.values()):
            try:
                while line.postponed:
                    line.postponed[0](broker)
                    line.postponed.popleft()
                if line.acks:
                    settlement = self.settle(line.queue, 0, broker)
                    # Only an unanswered request of a consumer that has gone can bring messages here.
                    for delivery in settlement.deliveries if settlement else ():
                        self._forget(delivery.tag)
                        line.postponed.append(_returning(delivery))
            except (exceptions.RedisError, OSError) as error:
                logger.debug("acks of %s wait: %s", line.queue.queue, error)
            except NoQueueError:
                line.postponed.clear()

    def renew(self, broker: Broker) -> bool:
        """Prolong every lease; returns whether that worked for all."""
        by_queue: dict[QueueKeys, list[Delivery]] = {}
        for delivery in list(self.held.values()):
            by_queue.setdefault(delivery.queue, []).append(delivery)
        complete = True
        self._lost.intersection_update(list(self.held))
        self._silent = {queue: since for queue, since in self._silent.items() if queue in by_queue}
        # Those that did not answer the last time come last: waiting for them must not cost the others their leases.
        for queue, deliveries in sorted(by_queue.items(), key=lambda item: item[0] in self._silent):
            leases = {delivery.ack.lease: delivery for delivery in deliveries}
            try:
                lost = broker.renew(queue, list(leases))
            except NoQueueError:
                lost = list(leases)
            except (exceptions.RedisError, OSError) as error:
                count("renewals_failed")
                if queue not in self._silent:
                    where = place(queue, broker.cluster)
                    logger.warning("queue %s: %d leases not renewed, trying again: %s", where, len(leases), error)
                    self._silent[queue] = time.monotonic()
                complete = False
                continue
            self.answered_at = time.monotonic()
            since = self._silent.pop(queue, None)
            if since is not None:
                took = time.monotonic() - since
                logger.info("queue %s: leases renewed again after %.1f s", place(queue, broker.cluster), took)
            for lease in lost:
                delivery = leases[lease]
                if delivery.tag in self.held and delivery.tag not in self._lost:
                    self._lost.add(delivery.tag)
                    notes.lease_lost(broker.cluster, delivery)
        return complete

    def close(self) -> None:
        """Send the acks and give back the rest: the end of the process. Any thread may call it."""
        if os.getpid() != self.pid:
            return
        # The main thread may be at it when its time is over.
        with self._closing:
            self.pump.stop()
            # Under gevent and eventlet a connection belongs to the thread that made it.
            broker = Broker(self.options) if in_native_thread() else self.broker
            self._say_farewell(broker, time.monotonic() + FAREWELL)
            broker.cluster.close()

    def _say_farewell(self, broker: Broker, ends: float) -> None:
        # First: what ends from now on goes back with the rest, and what ended before is acknowledged.
        left = list(self.held.values())
        self.held.clear()
        attempt = 0
        while self.unsent() and time.monotonic() < ends:
            self.flush(broker)
            if self.unsent():
                time.sleep(backoff(attempt))
                attempt += 1
        by_queue: dict[QueueKeys, list[str]] = {}
        for delivery in left:
            by_queue.setdefault(delivery.queue, []).append(delivery.ack.lease)
        for queue, leases in by_queue.items():
            try:
                broker.release(queue, leases, lost=False, deadline=max(0.0, ends - time.monotonic()))
            except (exceptions.RedisError, OSError, NoQueueError) as error:
                logger.warning("%d messages of %s come back when their leases end: %s", len(leases), queue.queue, error)


def _returning(delivery: Delivery) -> Callable[[Broker], object]:
    return lambda broker: broker.release(delivery.queue, [delivery.ack.lease], lost=False, deadline=0)


_sessions: dict[Options, Session] = {}
_sessions_gate = Gate()


def session_for(options: Options) -> Session:
    """The session of this process with a cluster; a forked child gets its own."""
    with _sessions_gate:
        session = _sessions.get(options)
        if session is None or session.pid != os.getpid():
            session = _sessions[options] = Session(options)
        return session


def sessions() -> list[Session]:
    """The sessions of this process."""
    return [session for session in list(_sessions.values()) if session.pid == os.getpid()]


def close_all() -> None:
    """Close every session of this process."""
    for session in list(_sessions.values()):
        session.close()
    _sessions.clear()


def _after_fork() -> None:
    global _sessions_gate
    _sessions.clear()
    _sessions_gate = Gate()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close_all)
