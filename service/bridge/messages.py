"""A message on its way: read as stock kombu wrote it, translated for the fleet. Pure, and blind to what bodies say."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from service.fleet import MAX_PRIORITY
from service.rediscluster import message_format

from .stock import Layout


class UnreadableError(ValueError):
    """An entry is not what kombu writes; the message says what is wrong."""


@dataclass(frozen=True)
class Label:
    """What the bridge notes with a message that it takes.

    Attributes:
        queue: The old queue.
        to: The fleet's queue, decided when it was taken.
        step: The list it stood in; None: a worker held it.
    """

    queue: str
    to: str
    step: int | None

    def dump(self) -> str:
        """One line of text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Taken:
    """A message that the bridge has taken from the old queues and not yet settled.

    Attributes:
        id: Its identity until it is settled, and in the fleet.
        label: Where it came from and goes to.
        raw: What stood in the old Redis.
    """

    id: str
    label: Label
    raw: bytes


@dataclass(frozen=True)
class Arrival:
    """A message as the fleet stores it.

    Attributes:
        id: Its identity.
        label: Where it came from and goes to.
        identity: Chooses the part of a split queue.
        step: Its step in the old queue.
        priority: 0-10, 10 is served first.
        due_ms: Unix time in milliseconds before which nobody gets it; 0: at once.
        grouped: Whether it is one of a group, hence perhaps of a chord.
        payload: What is stored.
    """

    id: str
    label: Label
    identity: str
    step: int
    priority: int
    due_ms: int
    grouped: bool
    payload: bytes


def parse_entry(id_: str, entry: bytes) -> Taken:
    """A message from the old Redis, as the bridge's scripts noted it: its label, a line feed, the message."""
    label, _, raw = entry.partition(b"\n")
    return Taken(id_, Label(**json.loads(label)), raw)


def read_held(value: bytes) -> tuple[dict[str, Any], str, str]:
    """Message, exchange and routing key of what a worker holds.

    Raises:
        UnreadableError: It is not what kombu notes there.
    """
    try:
        message, exchange, routing_key = json.loads(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(f"not kombu's note of a message that a worker holds: {error}") from error
    return _checked(message), str(exchange or ""), str(routing_key or "")


def read_message(raw: bytes) -> dict[str, Any]:
    """A message from a list.

    Raises:
        UnreadableError: It is not an envelope as kombu writes them.
    """
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON: {error}") from error
    return _checked(message)


def _checked(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise UnreadableError(f"a JSON {type(message).__name__} where an object was expected")
    if not isinstance(message.get("properties"), dict):
        raise UnreadableError("an object without properties")
    if not isinstance(message.get("headers"), dict | None):
        raise UnreadableError("its headers are not an object")
    if not isinstance(message.get("body", 0), str | None):
        raise UnreadableError("its body is missing or not text")
    return message


def fleet_priority(step: int, overrides: Mapping[int, int]) -> int:
    """The fleet's priority for a step of the old queue: 10 is served first here, 0 was there.

    A step and not the message's own number decides, so that what shared a list keeps its order.
    """
    return overrides.get(step, MAX_PRIORITY - step)


def translate(taken: Taken, layout: Layout, overrides: Mapping[int, int]) -> Arrival:
    """A taken message as the fleet stores it.

    Args:
        taken: The message.
        layout: Of the old broker.
        overrides: Priorities in the fleet by old step, where they are not the reverse.

    Raises:
        UnreadableError: It is not an envelope as kombu writes them.
    """
    message = read_held(taken.raw)[0] if taken.label.step is None else read_message(taken.raw)
    properties = message["properties"]
    headers = message.get("headers") or {}
    step = layout.step(properties.get("priority")) if taken.label.step is None else taken.label.step
    priority = fleet_priority(step, overrides)
    info = properties.get("delivery_info")
    # A retry goes where these say, with this priority: to the fleet's queue, in the fleet's direction.
    info = (info if isinstance(info, dict) else {}) | {"exchange": "", "routing_key": taken.label.to}
    if "priority" in info:
        info["priority"] = priority
    rest = {name: value for name, value in properties.items() if name != "body_encoding"}
    message = message | {
        "body": _body(message["body"], properties.get("body_encoding")),
        "headers": headers,
        "properties": rest | {"priority": priority, "delivery_info": info},
    }
    return Arrival(
        id=taken.id,
        label=taken.label,
        identity=str(properties.get("correlation_id") or taken.id),
        step=step,
        priority=priority,
        due_ms=message_format.due_ms(message),
        grouped=bool(headers.get("group")),
        payload=message_format.pack(message),
    )


def _body(body: str | None, encoding: object) -> bytes:
    """The body without the coat that kombu gives it so that it can stand in JSON; the fleet's messages need none."""
    if encoding != "base64":
        return (body or "").encode("utf-8", "surrogatepass")
    try:
        return binascii.a2b_base64(body or "")
    except ValueError as error:
        raise UnreadableError(f"its body is not base64: {error}") from error
