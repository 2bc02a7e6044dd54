"""Every key name of the transport and the result backend, and nothing else: pure functions without I/O.

All keys of one queue share a hash tag, so that one script can touch them in one slot, and every queue has its own
tag, so that queues spread over the shards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

#: Characters that need no escaping in a tag. `{`, `}` and `%` are always escaped, and so is `|`, which separates a
#: queue's name from its part number: queue `data|2` and part 2 of `data` are different tags.
_SAFE = "!#$&'()*+,-./:;<=>?@[]^_`~ "


def escape(name: str) -> str:
    """Percent-encode `name` (UTF-8) so that it can stand in a hash tag.

    Raises:
        ValueError: The name is empty: an empty tag would hash the whole key.
    """
    if not name:
        raise ValueError("a queue or exchange name must not be empty")
    return quote(name, safe=_SAFE)


@dataclass(frozen=True)
class QueueKeys:
    """The keys of one queue part.

    Attributes:
        prefix: What all broker keys start with.
        queue: The queue's name, unescaped.
        part: The part's number; 0 is the only part of an unsplit queue.
    """

    prefix: str
    queue: str
    part: int = 0

    def _key(self, kind: str) -> str:
        tag = escape(self.queue) + (f"|{self.part}" if self.part else "")
        return f"{self.prefix}{{{tag}}}:{kind}"

    @cached_property
    def ready(self) -> str:
        """Sorted set of messages that can be taken, by priority and sequence."""
        return self._key("ready")

    @cached_property
    def delayed(self) -> str:
        """Sorted set of messages that wait, by due time in milliseconds."""
        return self._key("delayed")

    @cached_property
    def inflight(self) -> str:
        """Hash of lease to message: what somebody holds, and since when."""
        return self._key("inflight")

    @cached_property
    def leases(self) -> str:
        """Sorted set of leases by deadline in milliseconds."""
        return self._key("leases")

    @cached_property
    def dead(self) -> str:
        """Sorted set of dead messages with their reason, by time of death in milliseconds."""
        return self._key("dead")

    @cached_property
    def meta(self) -> str:
        """Hash: the sequence, counters, what each producer published last. If it is there, the queue is."""
        return self._key("meta")

    @cached_property
    def lanes(self) -> str:
        """Sorted set of producer lanes by the time of their last publish in milliseconds."""
        return self._key("lanes")

    @cached_property
    def inbox(self) -> str:
        """List of messages as their producers left them, in order; any script makes them ready first."""
        return self._key("inbox")

    @cached_property
    def wake(self) -> str:
        """List of tokens; an idle consumer blocks on it. Normally absent, hence never declared."""
        return self._key("wake")

    @cached_property
    def temporary(self) -> str:
        """Mark that the queue is to go away by itself; it outlives the queue by an hour."""
        return self._key("temporary")

    @cached_property
    def completed(self) -> str:
        """Hash of task id to return value: tasks that are to complete once, and did."""
        return self._key("completed")

    @cached_property
    def completions(self) -> str:
        """Sorted set of those task ids by the time of their completion in milliseconds."""
        return self._key("completions")

    @cached_property
    def declared(self) -> tuple[str, ...]:
        """The keys that every script declares, in the order in which the scripts name them."""
        return (self.ready, self.delayed, self.inflight, self.leases, self.dead, self.lanes, self.meta, self.inbox)

    @cached_property
    def every(self) -> tuple[str, ...]:
        """The keys that every queue has: those of `declared`, and what scripts about completion name besides."""
        return (*self.declared, self.completed, self.completions)


def bindings_key(prefix: str, exchange: str) -> str:
    """Sorted set of an exchange's bindings by expiry in milliseconds (`+inf`: never)."""
    return f"{prefix}{{{escape(exchange)}}}:bindings"


def fanout_key(prefix: str, exchange: str) -> str:
    """Capped stream of a fanout exchange: all of them in one slot, so that a process reads them over one connection."""
    return f"{prefix}{{|fanout}}:{escape(exchange)}:fanout"


def task_key(prefix: str, task_id: str) -> str:
    """The result of a task, and the channel on which it is announced."""
    return f"{prefix}{{{escape(task_id)}}}:task"


def group_key(prefix: str, group_id: str, kind: str = "") -> str:
    """A group, or with a kind (`.j`, `.t` …) a part of its chord: all in one slot, since one script counts them."""
    return f"{prefix}{{{escape(group_id)}}}:group{kind}"
