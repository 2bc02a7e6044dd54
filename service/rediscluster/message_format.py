"""How messages look on the way in and out: pure functions without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from kombu.transport.base import to_rabbitmq_queue_arguments  # type: ignore[attr-defined] # the stubs lack it
from kombu.utils.json import JSONEncoder, loads

from .broker import Ack, Delivery

#: As kombu does it, in one line without spaces.
_dumps = JSONEncoder(separators=(",", ":")).encode
#: The property that tells a task under which lease its message is held.
_HELD = "held_as"


def queue_arguments(arguments: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Queue options (`expires` in seconds and so on) under RabbitMQ's names (`x-expires` in milliseconds)."""
    translated: dict[str, Any] = to_rabbitmq_queue_arguments(dict(arguments or {}), **options)
    return translated


def expires_ms(arguments: Mapping[str, Any] | None) -> int | None:
    """After how many milliseconds without a consumer the queue goes away; None: never."""
    value = (arguments or {}).get("x-expires")
    return int(value) if value else None


def due_ms(message: Mapping[str, Any]) -> int:
    """Unix time in milliseconds before which the task must not start, from Celery's `eta` header; 0: at once."""
    eta = message["headers"].get("eta") if message.get("headers") else None
    if not isinstance(eta, str):
        return 0
    try:
        moment = datetime.fromisoformat(eta)
    except ValueError:
        # The worker reports it as it does on every broker.
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1000))


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as it is stored: everything but the body as JSON in one line, then the body as it is."""
    head = {name: value for name, value in message.items() if name != "body"}
    body = message["body"]
    return b"%b\n%b" % (_dumps(head).encode(), body.encode() if isinstance(body, str) else body)


def unpack(payload: bytes) -> dict[str, Any]:
    """The reverse of `pack`; the body is bytes.

    Raises:
        ValueError: It is not such a message.
    """
    head, _, body = payload.partition(b"\n")
    message = loads(head)
    if not isinstance(message, dict):
        raise ValueError("the head of the message is not a JSON object")
    return message | {"body": body}


def received(delivery: Delivery) -> dict[str, Any]:
    """A stored message as kombu expects it, with this delivery's tag; raises as `unpack`, or KeyError."""
    message = unpack(delivery.payload)
    properties = message["properties"]
    properties["delivery_tag"] = delivery.tag
    ack = delivery.ack
    properties[_HELD] = [delivery.queue.queue, delivery.queue.part, ack.lease, ack.score, ack.message_id]
    if delivery.returns:
        properties.setdefault("delivery_info", {})["redelivered"] = True
        message["headers"]["redelivered"] = True
    if due_ms(message):
        # It waited in the cluster: the worker must not hold it for another while because its clock is late.
        message["headers"]["eta"] = None
    return message


def held(properties: Mapping[str, Any]) -> tuple[str, int, Ack] | None:
    """Queue, part and lease of a message that `received` made; None for one of another transport."""
    if _HELD not in properties:
        return None
    queue, part, *ack = properties[_HELD]
    return queue, part, Ack(*ack)


def backlog(stats: Sequence[Any]) -> int:
    """Messages that could run now, from the reply of `lua/stats.lua`: ready, and delayed ones that are due."""
    exists, _, due, *_, ready = stats
    return int(due) + sum(int(n) for n in ready) if exists else 0


@lru_cache(maxsize=256)
def _pattern(wanted: str) -> re.Pattern[str]:
    words = [{"*": r"[^.]+", "#": r".*"}.get(word, re.escape(word)) for word in wanted.split(".")]
    expression = r"\.".join(words)
    # `worker.#` also matches `worker`.
    return re.compile(expression.replace(r"\..*", r"(\..*)?"))


def matches(wanted: str, routing_key: str) -> bool:
    """Whether a fanout binding asks for a routing key: everything if it names none, else as a topic exchange does."""
    return not wanted or not routing_key or _pattern(wanted).fullmatch(routing_key) is not None
