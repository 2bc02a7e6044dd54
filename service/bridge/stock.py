"""How kombu's Redis transport lays out a broker: names of lists and steps of priorities. Pure functions without I/O."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

DEFAULT_SEPARATOR = "\x06\x16"
DEFAULT_STEPS = (0, 3, 6, 9)
#: kombu brings a message's priority into these limits before it looks for the step.
LOWEST, HIGHEST = 0, 9

#: What the bridge keeps in the old Redis, behind the global key prefix.
OWNER, TAKEN, UNREADABLE = "bridge:owner", "bridge:taken", "bridge:unreadable"

BINDINGS = "_kombu.binding."
#: Parts of groups and chords: lists too, where results share the database.
_CHORD_PART = re.compile(r".*celery-taskset-meta-.*\.[jts]")

Binding = tuple[str, str, str]


@dataclass(frozen=True)
class Layout:
    """The old transport's options that decide where its messages are.

    Attributes:
        prefix: The option `global_keyprefix`.
        separator: The option `sep`.
        steps: The option `priority_steps`, rising.
        unacked: The option `unacked_key`.
        unacked_index: The option `unacked_index_key`.
    """

    prefix: str = ""
    separator: str = DEFAULT_SEPARATOR
    steps: tuple[int, ...] = DEFAULT_STEPS
    unacked: str = "unacked"
    unacked_index: str = "unacked_index"

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or not LOWEST <= self.steps[0] <= self.steps[-1] <= HIGHEST:
            raise ValueError(f"{','.join(map(str, self.steps))}: expected rising numbers from {LOWEST} to {HIGHEST}")

    def key(self, name: str) -> str:
        """A key as it stands in Redis."""
        return self.prefix + name

    def list_name(self, queue: str, step: int) -> str:
        """The list with the messages of one priority step, without the global prefix."""
        return f"{queue}{self.separator}{step}" if step else queue

    def split(self, name: str) -> tuple[str, int]:
        """Queue and step of a list."""
        queue, separator, step = name.rpartition(self.separator)
        # kombu never writes step 0 behind the separator.
        return (queue, int(step)) if separator and queue and step.isdecimal() and int(step) else (name, 0)

    def step(self, priority: object) -> int:
        """The step that kombu puts a message of this priority into."""
        try:
            number = max(LOWEST, min(int(priority), HIGHEST))  # type: ignore[call-overload] # what is no number is caught
        except (TypeError, ValueError):
            number = LOWEST
        return self.steps[bisect(self.steps, number) - 1]


def not_a_task_queue(queue: str, exchanges: Iterable[str] = ()) -> str | None:
    """What a queue is for when it is not for tasks: such queues stay where they are.

    Args:
        queue: Its name.
        exchanges: The exchanges that it is bound to.
    """
    names = (queue, *exchanges)
    if any(name.endswith(".pidbox") for name in names):
        return "remote control"
    if any(name.startswith("celeryev") for name in names):
        return "events"
    if queue.startswith("bcast."):
        return "broadcast"
    if _CHORD_PART.fullmatch(queue):
        return "results"
    return "replies" if _is_uuid(queue) else None


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def routed_to(table: Iterable[Binding], routing_key: str) -> list[str]:
    """The queues that a direct or topic exchange sends a routing key to, as kombu does when it restores a message.

    Args:
        table: The exchange's bindings: routing key, pattern (of a topic exchange, else empty), queue.
        routing_key: The message's.
    """
    return sorted(
        {queue for key, pattern, queue in table if (re.match(pattern, routing_key) if pattern else key == routing_key)}
    )


def origin(exchange: str, routing_key: str, bindings: Mapping[str, Iterable[Binding]]) -> list[str]:
    """The queues that a message which a worker holds may have come from.

    Args:
        exchange: Where it was published; empty for the default exchange, whose routing key is the queue.
        routing_key: The message's.
        bindings: The table of each exchange.
    """
    if not exchange:
        return [routing_key] if routing_key else []
    return routed_to(bindings.get(exchange, ()), routing_key)
