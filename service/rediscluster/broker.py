"""Typed operations on queues: one method for each script, and the bindings of exchanges."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from redis import exceptions

from .cluster import Cluster
from .errors import MessageTooLargeError
from .keys import QueueKeys, bindings_key
from .lanes import PublishLanes
from .options import Options
from .scripts import Script, load
from .wire import command

#: Separates the fields of a binding; kombu's own transport uses the same.
_SEPARATOR = "\x06\x16"
#: Seconds for which an exchange's bindings are remembered by a publisher.
BINDINGS_CACHE = 5.0
#: Bytes of a message, and number of them, up to which they are left in a queue's inbox for a consumer.
INBOX_BYTES, INBOX_LENGTH = 16_384, 10_000
#: Entries of an inbox with one message in it: each begins with an empty one.
ONE_IN_INBOX = 2
#: Reply of `lua/publish.lua` for a queue that does not expire.
LASTING = 2
#: Why a message ended on the dead list.
DELIVERY_LIMIT = "delivery-limit"

Binding = tuple[str, str, str]


class NoQueueError(Exception):
    """The queue was never declared, was deleted, or has expired."""


@dataclass(frozen=True)
class Ack:
    """What identifies a delivery whose work is done."""

    lease: str
    score: str
    message_id: str


@dataclass(frozen=True)
class Delivery:
    """A message and the lease under which we hold it.

    Attributes:
        queue: The keys of its queue part.
        ack: Identifies this delivery.
        priority: 0-10.
        losses: How often it was lost or requeued before.
        returns: How often it was given back before, for whatever reason.
        payload: The message as published.
    """

    queue: QueueKeys
    ack: Ack
    priority: int
    losses: int
    returns: int
    payload: bytes

    @property
    def tag(self) -> str:
        """kombu's delivery tag: another delivery of the same message has another one."""
        return f"{self.ack.message_id}.{self.ack.lease}"


@dataclass(frozen=True)
class Settlement:
    """What a round with a queue brought.

    Attributes:
        deliveries: Messages that are ours now.
        remaining: How many are still ready.
        watch: Seconds until we must look again because something becomes due or expires; None: somebody else watches.
    """

    deliveries: list[Delivery]
    remaining: int
    watch: float | None


@dataclass(frozen=True)
class Completion:
    """What the cluster knows of a task that is to complete once.

    Attributes:
        held: Whether the message is ours, or nobody's.
        value: What the run returned that completed it; None when it was not completed, or by this very request.
    """

    held: bool
    value: bytes | None


class Broker:
    """The queues of one cluster. All methods may be called from any thread."""

    def __init__(self, options: Options) -> None:
        """Connects on first use."""
        self.options = options
        self.cluster = Cluster(options)
        self.lanes = PublishLanes()
        self._bindings: dict[str, tuple[float, list[Binding]]] = {}
        self._bindings_lock = threading.Lock()
        self._partitions = dict(options.partitions)
        self._lease_ms = int(options.lease * 1000)
        #: `meta` keys of queue parts that do not expire.
        self._lasting: set[str] = set()
        #: How many entries their inboxes had at the last publish.
        self._lengths: dict[str, int] = {}
        self.keys = lru_cache(maxsize=4096)(partial(QueueKeys, options.key_prefix))

    def parts(self, queue: str) -> list[QueueKeys]:
        """The parts of a queue: one, unless the option `partitions` splits it."""
        return [self.keys(queue, part) for part in range(self._partitions.get(queue, 1))]

    def part_of(self, queue: str, identity: str) -> QueueKeys:
        """The part that a message goes to: the same for whatever is published under this identity."""
        parts = self._partitions.get(queue, 1)
        return self.keys(queue, zlib.crc32(identity.encode()) % parts if parts > 1 else 0)

    # -- queues -----------------------------------------------------------------------------------------------------

    def declare(self, queue: QueueKeys, expires_ms: int | None = None) -> None:
        """Make the queue's keys, if they are not there.

        One by one: in a migrating slot single-key commands are redirected where a script would wait.
        """
        call = self.cluster.call
        for key in queue.every:
            if key in (queue.inflight, queue.completed):
                call(key, "HSETNX", key, "", "")
            elif key == queue.inbox:
                # Two of these entries are as good as one.
                if not call(key, "EXISTS", key):
                    call(key, "RPUSH", key, "")
            elif key != queue.meta:
                call(key, "ZADD", key, "NX", "+inf", "")
        # Last: where it is, the queue is.
        call(queue.meta, "HSETNX", queue.meta, "sequence", 0)
        if expires_ms is not None:
            self.touch(queue, expires_ms)

    def touch(self, queue: QueueKeys, expires_ms: int, deadline: float | None = None) -> None:
        """Let a temporary queue live for another `expires_ms` milliseconds."""
        self._script("touch", queue, lambda _: (queue.wake, queue.temporary, expires_ms), deadline, keys=queue.every)

    def was_temporary(self, queue: QueueKeys) -> bool:
        """Whether a queue that is gone had an expiry: a late reply must not make it again."""
        return bool(self.cluster.call(queue.temporary, "EXISTS", queue.temporary))

    def exists(self, queue: QueueKeys) -> bool:
        """Whether the queue is declared."""
        return bool(self.cluster.call(queue.meta, "EXISTS", queue.meta))

    def drop(self, queue: QueueKeys) -> None:
        """Delete the queue and everything in it."""
        # In one step: half a queue would look like one.
        self.cluster.call(queue.meta, "UNLINK", *queue.every)
        for key in (queue.wake, queue.temporary):
            self.cluster.call(key, "UNLINK", key)

    def purge(self, queue: QueueKeys) -> int:
        """Remove what nobody holds; returns the number of messages."""
        self.absorb(queue)
        return int(self._script("purge", queue, lambda _: ()))

    def stats(self, queue: QueueKeys) -> list[Any]:
        """The reply of `lua/stats.lua`."""
        self.absorb(queue)
        reply: list[Any] = self._script("stats", queue, lambda _: ())
        return reply

    def absorb(self, queue: QueueKeys, deadline: float | None = None) -> None:
        """Make ready what producers left in the inbox; whoever takes messages does so too.

        Raises:
            ClusterUnavailableError: Not done within the deadline.
        """
        while self._script("absorb", queue, lambda _: (queue.wake,), deadline):
            pass

    def _script(
        self,
        name: str,
        queue: QueueKeys,
        args: Callable[[int], Sequence[Any]],
        deadline: float | None = None,
        replicas: int = 0,
        keys: Sequence[str] = (),
    ) -> Any:
        try:
            return self.cluster.script(load(name), keys or queue.declared, args, deadline, replicas)
        except exceptions.ResponseError as error:
            raise _translate(error) from error

    # -- messages ---------------------------------------------------------------------------------------------------

    def publish(
        self,
        queue: QueueKeys,
        payload: bytes,
        *,
        message_id: str,
        lane: str,
        number: int,
        priority: int = 0,
        due_ms: int = 0,
        kept: bool = False,
    ) -> bool:
        """Store a message, waiting out failovers. Most need not pay for this: see `leave`.

        Args:
            queue: Where to.
            payload: The message.
            message_id: Its identity, without a colon.
            lane: Lane of the producer, see `PublishLanes`.
            number: Number in the lane.
            priority: 0-10, 10 is served first.
            due_ms: Unix time in milliseconds before which nobody gets it.
            kept: Whether the lane is one that is never forgotten, see `kept.py`.

        Returns:
            Whether it was stored now; False when an earlier attempt had stored it.

        Raises:
            NoQueueError: The queue is not declared.
            ClusterUnavailableError: Not confirmed within the deadline, by the primary or by `durable_replicas`
                replicas: it may or may not have been stored.
            MessageTooLargeError: It has more bytes than `message_limit`; it was not stored.
            redis.exceptions.OutOfMemoryError: The memory was full until the deadline; it was not stored.
        """
        self._check_size(queue.queue, payload)
        window = 0 if kept else int(self.options.dedupe_window * 1000)
        message = _stored(message_id, priority, due_ms, payload)
        args = (queue.wake, lane, number, priority, due_ms, window, message, 1)
        replicas = self.options.durable_replicas
        while (reply := self._script("publish", queue, lambda _: args, replicas=replicas)) < 0:
            pass
        # One that is kept has not told the queue our window.
        if reply == LASTING and not kept:
            self._lasting.add(queue.meta)
        return bool(reply)

    def takes(self, queue: QueueKeys, payload: bytes, due_ms: int) -> bool:
        """Whether a message may be left in the queue's inbox.

        Its queue must be known to last: what wakes a consumer then needs no expiry. A script reads many entries at
        once, so large messages do not lie there.
        """
        return not due_ms and len(payload) <= INBOX_BYTES and queue.meta in self._lasting

    def leave(
        self, queue: QueueKeys, payload: bytes, *, message_id: str, lane: str, number: int, priority: int = 0
    ) -> None:
        """Store a message at the end of the inbox, from where any script takes it into its place; else as `publish`.

        Plain commands cost the server a fraction of a script. A repeated one is recognised when it is taken from there,
        in lanes of its own: whoever repeats it must come this way again. Who finds the inbox empty leaves a token that
        wakes a consumer; in the same packet, unless it was not empty the last time.
        """
        message = _stored(message_id, priority, 0, payload)
        # X: only where there is an inbox, and so a queue.
        request = command("RPUSHX", queue.inbox, b"%bd %d %b" % (lane.encode(), number, message))
        call, key, replicas = self.cluster.call, queue.meta, self.options.durable_replicas
        with_token = self._lengths.get(key, 0) <= ONE_IN_INBOX
        if with_token:
            request += command("RPUSH", queue.wake, 1)
        length = self._lengths[key] = self.cluster.push(queue.inbox, request, int(with_token), replicas)
        if not length:
            self._lasting.discard(key)
            call(queue.wake, "UNLINK", queue.wake)
            raise NoQueueError
        if length <= ONE_IN_INBOX and not with_token:
            call(queue.wake, "RPUSH", queue.wake, 1)
        elif length > INBOX_LENGTH:
            # It is stored; whoever takes it can do this too.
            with suppress(exceptions.RedisError, OSError, NoQueueError):
                self._script("absorb", queue, lambda _: (queue.wake,), deadline=0.0)

    def _check_size(self, where: str, payload: bytes) -> None:
        limit = self.options.message_limit
        if len(payload) > limit:
            raise MessageTooLargeError(
                f"a message for {where} has {len(payload)} bytes, the limit is {limit}: "
                "keep what is large in a store, and send where it is"
            )

    def settle(
        self, queue: QueueKeys, session: str, wanted: int, first: int, acks: Iterable[Ack] = (), attempt: int = 0
    ) -> Settlement:
        """Acknowledge and lease in one step, in one attempt.

        Args:
            queue: Which queue part.
            session: Names the holder.
            wanted: How many messages at most; 0 only acknowledges, -1 leaves messages and clock to others.
            first: Number of the first lease; the next `wanted` numbers are used up.
            acks: Deliveries whose work is done.
            attempt: Above 0 when an earlier attempt with the same numbers may have been executed.

        Raises:
            NoQueueError: The queue is not declared.
            redis.exceptions.RedisError: Not executed, or the reply was lost; see `errors.is_retryable`.
        """
        flat = [part for ack in acks for part in (ack.lease, ack.score, ack.message_id)]
        limit = self.options.delivery_limit
        args = (queue.wake, session, self._lease_ms, limit, wanted, first, attempt, *flat)
        try:
            pause, rest, leased = self.cluster.script_once(_SETTLE, queue.declared, args)
        except exceptions.ResponseError as error:
            raise _translate(error) from error
        deliveries = [
            _delivery(queue, f"{session}:{leased[i]}", leased[i + 1], leased[i + 2]) for i in range(0, len(leased), 3)
        ]
        return Settlement(deliveries, rest, None if pause < 0 else pause / 1000)

    def renew(self, queue: QueueKeys, leases: Sequence[str]) -> list[str]:
        """Prolong leases, in one attempt; returns those that are not ours any more.

        Raises:
            NoQueueError: The queue is not declared.
            redis.exceptions.RedisError: As for `settle`.
        """
        args = (queue.wake, self._lease_ms, self.options.delivery_limit, *leases)
        try:
            lost = self.cluster.script_once(load("renew"), queue.declared, args)
        except exceptions.ResponseError as error:
            raise _translate(error) from error
        return [lease.decode() for lease in lost]

    def release(
        self,
        queue: QueueKeys,
        leases: Sequence[str],
        *,
        lost: bool,
        delay: float = 0.0,
        deadline: float | None = None,
    ) -> int:
        """Give messages back to their places.

        Args:
            queue: Which queue part.
            leases: Under which leases we hold them.
            lost: Whether this counts against the delivery limit; a return at shutdown does not.
            delay: Seconds before they are ready again.
            deadline: Seconds to wait out failovers; None takes the default.

        Raises:
            NoQueueError: The queue is not declared.
            ClusterUnavailableError: Not confirmed within the deadline; the leases then expire by themselves.
        """
        limit = self.options.delivery_limit
        args = (queue.wake, limit, int(lost), DELIVERY_LIMIT, int(delay * 1000), *leases)
        return int(self._script("release", queue, lambda _: args, deadline))

    def bury(self, queue: QueueKeys, leases: Sequence[str], reason: str, deadline: float | None = None) -> int:
        """Move messages that we hold to the dead list with a reason of one word; raises as `release`."""
        return int(self._script("bury", queue, lambda _: (reason, *leases), deadline))

    # -- tasks that complete once -----------------------------------------------------------------------------------

    def completion(self, queue: QueueKeys, lease: str, task_id: str) -> Completion:
        """Look before a task runs: whether it is done, and whether the message is still ours.

        Raises:
            NoQueueError: The queue is not declared.
            ClusterUnavailableError: Not known within the deadline.
        """
        return self._completion("completion", queue, (lease, task_id))

    def complete(self, queue: QueueKeys, ack: Ack, task_id: str, value: bytes) -> Completion:
        """Record that a task is done and what it returned, unless it was done before or somebody else holds it.

        Args:
            queue: The queue part that the message came from.
            ack: Under which lease we hold it.
            task_id: Its identity, the same for every delivery and every copy.
            value: What it returned.

        Raises:
            NoQueueError: The queue is not declared.
            ClusterUnavailableError: Not confirmed within the deadline: it may or may not have been recorded.
        """
        window = int(self.options.once_window * 1000)
        args = (ack.lease, ack.score, ack.message_id, task_id, window, value)
        return self._completion("complete", queue, args, replicas=self.options.durable_replicas)

    def _completion(self, name: str, queue: QueueKeys, args: Sequence[Any], replicas: int = 0) -> Completion:
        held, value = self._script(name, queue, lambda _: args, replicas=replicas, keys=queue.every)
        return Completion(bool(held), value)

    # -- broadcasts -------------------------------------------------------------------------------------------------

    def broadcast(self, stream: str, routing_key: str, payload: bytes) -> None:
        """Send a message to everyone who reads the stream of a fanout exchange.

        Raises:
            ClusterUnavailableError: Not confirmed within the deadline.
            MessageTooLargeError: It has more bytes than `message_limit`; it was not sent.
            redis.exceptions.OutOfMemoryError: The memory is full; nobody waits for that, it would stop the worker.
        """
        self._check_size(stream, payload)
        options = self.options
        args = (options.fanout_length, int(options.fanout_expires * 1000), routing_key, payload)
        self.cluster.script(load("broadcast"), [stream], lambda _: args, until_room=False)

    # -- bindings ---------------------------------------------------------------------------------------------------

    def bind(
        self, exchange: str, binding: Binding, expires_ms: int | None = None, deadline: float | None = None
    ) -> None:
        """Remember that an exchange sends to a queue; with `expires_ms`, for that many milliseconds."""
        key = bindings_key(self.options.key_prefix, exchange)
        now = int(time.time() * 1000)
        score = "+inf" if expires_ms is None else str(now + expires_ms)
        self.cluster.call(key, "ZADD", key, score, _SEPARATOR.join(binding), deadline=deadline)
        if expires_ms is not None:
            # Those who leave bindings that expire clean up after those who are gone.
            self.cluster.call(key, "ZREMRANGEBYSCORE", key, "-inf", now - expires_ms, deadline=deadline)
        self._forget_bindings(exchange)

    def unbind(self, exchange: str, binding: Binding) -> None:
        """Forget that an exchange sends to a queue."""
        key = bindings_key(self.options.key_prefix, exchange)
        self.cluster.call(key, "ZREM", key, _SEPARATOR.join(binding))
        self._forget_bindings(exchange)

    def _forget_bindings(self, exchange: str) -> None:
        with self._bindings_lock:
            self._bindings.pop(exchange, None)

    def bindings(self, exchange: str, *, fresh: bool = False) -> list[Binding]:
        """The bindings of an exchange, at most `BINDINGS_CACHE` seconds old unless `fresh`."""
        with self._bindings_lock:
            read_at, known = self._bindings.get(exchange, (0.0, []))
        if known and not fresh and time.monotonic() - read_at < BINDINGS_CACHE:
            return known
        key = bindings_key(self.options.key_prefix, exchange)
        now = int(time.time() * 1000)
        members = self.cluster.call(key, "ZRANGEBYSCORE", key, now, "+inf")
        found = [_binding(member.decode()) for member in members]
        with self._bindings_lock:
            self._bindings[exchange] = (time.monotonic(), found)
        return found


_SETTLE: Script = load("settle")


def _translate(error: exceptions.ResponseError) -> Exception:
    return NoQueueError() if str(error).startswith("NOQUEUE") else error


def _stored(message_id: str, priority: int, due_ms: int, payload: bytes) -> bytes:
    # Our clock tells only how old a message is; what decides when it is due and when a lease ends is the server's.
    ready = max(due_ms, int(time.time() * 1000))
    return b"%b:%d:%d:0:0:%b" % (message_id.encode(), priority, ready, payload)


def _binding(member: str) -> Binding:
    routing_key, pattern, queue = member.split(_SEPARATOR)
    return routing_key, pattern, queue


def _delivery(queue: QueueKeys, lease: str, score: bytes, message: bytes) -> Delivery:
    identity, priority, _, losses, returns, payload = message.split(b":", 5)
    ack = Ack(lease, score.decode(), identity.decode())
    return Delivery(queue, ack, int(priority), int(losses), int(returns), payload)
