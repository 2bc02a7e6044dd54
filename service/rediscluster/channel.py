"""kombu's channel: declaring, publishing, consuming and settling on the cluster."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from typing import Any, ClassVar

from kombu.transport import virtual
from kombu.utils.uuid import uuid

from . import message_format, notes
from .broker import Binding, Delivery, NoQueueError
from .errors import ClusterUnavailableError
from .keys import fanout_key
from .lanes import PUBLISH, Publish
from .receiver import Receiver
from .session import Session
from .watch import last_id

logger = logging.getLogger(__name__)


class QoS(virtual.QoS):
    """Prefetch credit of a channel. What is held belongs to the session, so closing a channel gives nothing away."""

    channel: Channel

    def __init__(self, channel: virtual.Channel, prefetch_count: int = 0) -> None:
        self.channel = channel  # type: ignore[assignment]
        self.prefetch_count = prefetch_count or 0
        self.outstanding: set[str] = set()

    def can_consume(self) -> bool:
        """Whether another message may be taken."""
        return not self.prefetch_count or len(self.outstanding) < self.prefetch_count

    def can_consume_max_estimate(self) -> int:
        """How many messages may be taken; 0 also means no limit when `prefetch_count` is 0."""
        return max(self.prefetch_count - len(self.outstanding), 0)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a delivery."""
        self.outstanding.add(delivery_tag)

    def get(self, delivery_tag: str) -> Any:
        """The delivery under a tag; KeyError if it was settled."""
        return self.channel.session.held[delivery_tag]

    def ack(self, delivery_tag: str) -> None:
        """The work is done."""
        self.outstanding.discard(delivery_tag)
        self.channel.settled(self.channel.session.ack(delivery_tag))

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Refuse a message: back to its queue, counting against the delivery limit, or to the dead list."""
        self.outstanding.discard(delivery_tag)
        session = self.channel.session
        if requeue:
            self.channel.settled(session.give_back(delivery_tag, lost=True))
        else:
            self.channel.settled(session.bury(delivery_tag, "rejected"))

    def restore_unacked(self) -> None:
        """Give back everything that is outstanding."""
        for tag in list(self.outstanding):
            self.outstanding.discard(tag)
            self.channel.session.give_back(tag, lost=False)

    def restore_unacked_once(self, stderr: Any | None = None) -> None:
        """Nothing: what Celery still works on stays ours, what it dropped comes back when it is collected."""


class Channel(virtual.Channel):
    """A channel of the cluster transport."""

    QoS = QoS
    supports_fanout = True
    max_priority = 10
    from_transport_options: ClassVar[tuple[str, ...]] = ("deadletter_queue",)  # type: ignore[misc]

    session: Session
    receiver: Receiver

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.session = connection.session
        self.receiver = connection.receiver
        # Of the connection: what one channel declares, another may consume.
        self._expires: dict[str, int] = connection.expires
        self._fanout_cursors: dict[str, tuple[str, str, str]] = connection.fanout_cursors
        self._tag_callbacks: dict[str, tuple[bool, Callable[[Any], Any]]] = {}

    @property
    def broker(self) -> Any:
        """The queues."""
        return self.session.broker

    # -- declaring --------------------------------------------------------------------------------------------------

    def prepare_queue_arguments(self, arguments: dict[str, Any] | None, **kwargs: Any) -> dict[str, Any] | None:
        """RabbitMQ's names for queue options, of which x-expires matters here."""
        return message_format.queue_arguments(arguments, kwargs)

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        expires = message_format.expires_ms(kwargs.get("arguments"))
        if expires is None:
            self._expires.pop(queue, None)
        else:
            self._expires[queue] = expires
        for part in self.broker.parts(queue):
            if not self.broker.exists(part):
                self.broker.declare(part, expires)
            elif expires is not None:
                self.broker.touch(part, expires)

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        return bool(self.broker.exists(self.broker.keys(queue)))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            stream = fanout_key(self.session.options.key_prefix, exchange)
            # A command sent while we reconnect is not lost: reading goes on where the last connection left off.
            cursor = self.session.fanout_cursors.get(queue) or last_id(self.broker, stream)
            self._fanout_cursors[queue] = (stream, cursor, routing_key)
            self.session.heard(queue, cursor)
        else:
            binding = (routing_key or "", pattern or "", queue)
            self.broker.bind(exchange, binding, self._expires.get(queue))

    def queue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Remove a binding."""
        super().queue_unbind(queue, exchange, routing_key, arguments, **kwargs)
        if exchange:
            routing_key, pattern, _ = self._binding(queue, exchange, routing_key, arguments)
            self.broker.unbind(exchange, (routing_key, pattern, queue))

    def _binding(self, queue: str, exchange: str, routing_key: str, arguments: dict[str, Any] | None) -> Binding:
        meta = self.typeof(exchange).prepare_bind(queue, exchange, routing_key, arguments)
        return meta[0] or "", meta[1] or "", queue

    def get_table(self, exchange: str) -> list[Binding]:
        """The bindings of an exchange, as every process declared them."""
        table: list[Binding] = self.broker.bindings(exchange)
        return table

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str] | set[str]:
        found = super()._lookup(exchange, routing_key, default)
        if not found and exchange:
            # Bound after the table was read.
            self.broker.bindings(exchange, fresh=True)
            found = super()._lookup(exchange, routing_key, default)
        return found

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Delete a queue, its bindings and what is in it."""
        if if_empty and self._size(queue):
            return
        for exchange, routing_key, arguments in list(self.state.queue_bindings(queue)):
            self.broker.unbind(exchange, self._binding(queue, exchange, routing_key, arguments))
        self.state.queue_bindings_delete(queue)
        self.session.fanout_cursors.pop(queue, None)
        for part in self.broker.parts(queue):
            self.session.forget_temporary(part)
            self.broker.drop(part)

    def _size(self, queue: str) -> int:
        return sum(message_format.backlog(self.broker.stats(part)) for part in self.broker.parts(queue))

    def _purge(self, queue: str) -> int:
        return sum(self.broker.purge(part) for part in self.broker.parts(queue))

    # -- publishing -------------------------------------------------------------------------------------------------

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **kwargs: Any) -> None:
        """Publish a message, once however often kombu repeats this call for it."""
        properties = message["properties"]
        publish = properties[PUBLISH] = properties.get(PUBLISH) or self.broker.lanes.take()
        super().basic_publish(message, exchange, routing_key, **kwargs)
        del properties[PUBLISH]
        if not publish.kept:
            self.broker.lanes.give_back(publish)

    def _inplace_augment_message(self, message: Any, exchange: str | None, routing_key: str) -> None:
        # Not kombu's: it gives the message another tag each time, and encodes the body.
        message["properties"]["delivery_info"].update(exchange=exchange, routing_key=routing_key)

    def _payload(self, message: Any) -> bytes:
        """The message as it is stored: without what only its repetition needs."""
        properties = message["properties"]
        publish = properties.pop(PUBLISH, None)
        try:
            return message_format.pack(message)
        finally:
            if publish is not None:
                properties[PUBLISH] = publish

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        properties = message["properties"]
        publish = properties.get(PUBLISH) or Publish()
        # All copies of a task in one part, which alone knows whether it completed; all of a kept lane too.
        identity = properties.get("correlation_id") or f"{publish.lane} {publish.number}"
        part = self.broker.part_of(queue, publish.lane if publish.kept else str(identity))
        due = message_format.due_ms(message)
        payload = self._payload(message)
        leaves = publish.leaves.setdefault(part.meta, not publish.kept and self.broker.takes(part, payload, due))
        arguments = {
            "message_id": os.urandom(16).hex(),
            "lane": publish.lane,
            "number": publish.number,
            "priority": self._get_message_priority(message),
        }
        try:
            if leaves:
                try:
                    self.broker.leave(part, payload, **arguments)
                    return
                except NoQueueError:
                    publish.leaves[part.meta] = False
            try:
                stored = self.broker.publish(part, payload, due_ms=due, kept=publish.kept, **arguments)
            except NoQueueError:
                if self.broker.was_temporary(part):
                    logger.debug("nobody waits at %s any more: reply dropped", queue)
                    return
                self.broker.declare(part)
                stored = self.broker.publish(part, payload, due_ms=due, kept=publish.kept, **arguments)
        except ClusterUnavailableError as error:
            notes.publish_unknown(self.broker.cluster, part, message, error)
            raise
        if not stored:
            notes.publish_repeated(self.broker.cluster, part, message)

    def _put_fanout(self, exchange: str, message: Any, routing_key: str, **kwargs: Any) -> None:
        stream = fanout_key(self.session.options.key_prefix, exchange)
        self.broker.broadcast(stream, routing_key or "", self._payload(message))

    # -- consuming --------------------------------------------------------------------------------------------------

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,
        callback: Callable[..., Any] | None,
        consumer_tag: str | None,
        **kwargs: Any,
    ) -> str:
        """Deliver messages of a queue to a callback."""
        tag = consumer_tag or uuid()
        self._tag_to_queue[tag] = queue
        self._active_queues.append(queue)
        self._consumers.add(tag)
        if callback is not None:
            self._tag_callbacks[queue] = (no_ack, callback)
        if queue in self._fanout_cursors:
            stream, bound_at, _ = self._fanout_cursors[queue]
            cursor = self.session.fanout_cursors.get(queue, bound_at)
            self.receiver.add_fanout(self, self.broker.keys(queue), stream, cursor)
            return tag
        for part in self.broker.parts(queue):
            if queue in self._expires:
                self.session.keep_temporary(part, self._expires[queue], self._bindings_of(queue))
            self.receiver.add(self, part)
        return tag

    def _bindings_of(self, queue: str) -> list[tuple[str, Binding]]:
        return [
            (exchange, self._binding(queue, exchange, routing_key, arguments))
            for exchange, routing_key, arguments in self.state.queue_bindings(queue)
        ]

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop delivering to a consumer."""
        if consumer_tag not in self._consumers:
            return
        self._consumers.remove(consumer_tag)
        queue = self._tag_to_queue.pop(consumer_tag)
        self._active_queues.remove(queue)
        if queue not in self._active_queues:
            self._tag_callbacks.pop(queue, None)
            for part in self.broker.parts(queue):
                self.session.forget_temporary(part)
                self.receiver.remove(self, part)

    def credit(self, unlimited: int) -> int:
        """How many messages may be taken now; `unlimited` where no prefetch limit is set."""
        qos = self.qos
        if not self._consumers or not qos.can_consume():
            return 0
        if "can_consume" in vars(qos):
            # Celery's worker_disable_prefetch replaces the method; it must be asked for each message.
            return 1
        return qos.can_consume_max_estimate() if qos.prefetch_count else unlimited

    def reserve(self, delivery: Delivery) -> None:
        """Count a message that was taken and not yet delivered."""
        if not self._tag_callbacks.get(delivery.queue.queue, (False,))[0]:
            self.qos.append(None, delivery.tag)

    def return_undelivered(self, delivery: Delivery) -> None:
        """Give back a message that was taken and not delivered."""
        self.qos.outstanding.discard(delivery.tag)  # type: ignore[attr-defined]
        self.session.give_back(delivery.tag, lost=False)

    def deliver(self, delivery: Delivery) -> None:
        """Hand a message to its consumer."""
        queue = delivery.queue.queue
        if queue not in self._tag_callbacks:
            self.return_undelivered(delivery)
            return
        no_ack, callback = self._tag_callbacks[queue]
        message = self._message(delivery)
        if message is None:
            return
        if no_ack:
            self.settled(self.session.ack(delivery.tag))
        else:
            self.session.watch(message, delivery.tag, self._dropped)
        callback(message)

    def _message(self, delivery: Delivery) -> virtual.Message | None:
        try:
            payload = message_format.received(delivery)
            return self.Message(payload, channel=self)
        except Exception:
            # Nobody can ever read it, and it must not stop the others.
            logger.exception(
                "undecodable message %s in %s goes to the dead list", delivery.ack.message_id, delivery.queue.queue
            )
            self.qos.outstanding.discard(delivery.tag)  # type: ignore[attr-defined]
            self.settled(self.session.bury(delivery.tag, "undecodable"))
            return None

    def deliver_broadcast(self, queue: str, fields: dict[bytes, bytes]) -> None:
        """Hand a message of a fanout exchange to its consumer, if its binding asks for the routing key."""
        if queue not in self._tag_callbacks:
            return
        wanted = self._fanout_cursors[queue][2]
        routing_key = fields[b"key"].decode()
        if not message_format.matches(wanted, routing_key):
            return
        payload = message_format.unpack(fields[b"message"])
        payload["properties"]["delivery_tag"] = uuid()
        self._tag_callbacks[queue][1](self.Message(payload, channel=self))

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> virtual.Message | None:
        """Take one message, or None when none is ready."""
        parts = self.broker.parts(queue)
        random.shuffle(parts)
        taken = (self.session.take(part, self.session.options.retry_deadline) for part in parts)
        delivery = next((delivery for delivery in taken if delivery is not None), None)
        if delivery is None:
            return None
        message = self._message(delivery)
        if message is None:
            return self.basic_get(queue, no_ack, **kwargs)
        if no_ack:
            self.settled(self.session.ack(delivery.tag))
        else:
            self.qos.append(message, delivery.tag)
            self.session.watch(message, delivery.tag, self._dropped)
        return message

    def _dropped(self, tag: str) -> None:
        self.qos.outstanding.discard(tag)  # type: ignore[attr-defined]
        self.receiver.bell.ring()

    def returns(self, message: virtual.Message) -> int:
        """How often a message that is held was given back before; 0 when it was settled."""
        delivery = self.session.held.get(str(message.delivery_tag))
        return delivery.returns if delivery else 0

    def retire(self, message: virtual.Message, reason: str | None, delay: float = 0.0) -> None:
        """Move a message that is held to the dead list with a reason, or without one back after `delay` seconds."""
        tag = str(message.delivery_tag)
        self.qos.outstanding.discard(tag)  # type: ignore[attr-defined]
        if reason is None:
            self.settled(self.session.give_back(tag, lost=False, delay=delay))
        else:
            self.settled(self.session.bury(tag, reason))

    def settled(self, queue: Any) -> None:
        """A delivery was settled; send it, and take the next."""
        if queue is not None:
            self.receiver.acked(queue)

    def close(self) -> None:
        """Cancel the consumers. What is outstanding stays with the session."""
        if self.closed:
            return
        self.closed = True
        for tag in list(self._consumers):
            self.basic_cancel(tag)
        if self.connection is not None:
            self.connection.close_channel(self)
