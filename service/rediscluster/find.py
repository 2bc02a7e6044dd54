"""Finds a task's messages in queues without an index: reads them all, a little at a time, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from redis import exceptions

from . import deadlist
from .broker import Broker
from .keys import QueueKeys
from .message_format import unpack
from .options import parse
from .scripts import load

#: Messages, and bytes of them, that one request looks at: a few milliseconds of the shard's time.
CHUNK = 1000
CHUNK_BYTES = 1_000_000
#: Seconds for which a shard that does not answer is asked again.
DEADLINE = 2.0

Place = Literal["delayed", "ready", "inflight", "dead"]
#: In the order in which a message goes through them, so that one that moves on while we look is met again; what is
#: held comes first too, for those that go back.
PLACES: tuple[Place, ...] = ("inflight", "delayed", "ready", "inflight", "dead")


@dataclass(frozen=True)
class Sighting:
    """A message of the task, and where it is. All times are Unix times in seconds, by the clock of its shard.

    Attributes:
        message_id: Names the message: a task that is retried has several.
        place: Delayed, ready, in flight (somebody holds it) or dead.
        queue: The queue.
        part: The part of the queue; 0 if it is not split.
        node: `host:port` of the primary.
        seen: When it was seen.
        position: How many of the same place come before it; 0 in flight.
        size: How many messages are in that place.
        priority: 0-10, 10 first.
        ready: Since when it can be taken, or could before it was.
        losses: How often it was lost or requeued.
        returns: How often it was given back, for whatever reason.
        headers: The headers of the message.
        due: Delayed: when it can be taken.
        holder: In flight: the name of the process that holds it.
        since: In flight: since when; 0 if it is not known.
        until: In flight: when it goes to somebody else unless its holder renews.
        reason: Dead: why, in one word.
        exception: Dead: what its task raised; empty where no task ran.
        died: Dead: when.
    """

    message_id: str
    place: Place
    queue: str
    part: int
    node: str
    seen: float
    position: int
    size: int
    priority: int
    ready: float
    losses: int
    returns: int
    headers: Mapping[str, Any]
    due: float | None = None
    holder: str | None = None
    since: float | None = None
    until: float | None = None
    reason: str | None = None
    exception: str | None = None
    died: float | None = None


@dataclass
class Search:
    """What was found.

    Attributes:
        sightings: Messages of the task.
        completed: The task completed once (`once=True`) in these queues, at these times (Unix, seconds).
        unasked: Queues that could not be searched, and why.
    """

    sightings: list[Sighting] = field(default_factory=list)
    completed: dict[str, float] = field(default_factory=dict)
    unasked: dict[str, str] = field(default_factory=dict)


class Finder:
    """Looks for tasks in the queues of a cluster."""

    def __init__(self, url: str, transport_options: Mapping[str, Any] | None = None) -> None:
        """Connects on first use.

        Raises:
            ConfigurationError: The URL or an option is wrong.
        """
        self._broker = Broker(parse(url, transport_options))
        self._broker.cluster.purpose = "inspect"
        #: A message that was lost or requeued more often is dead.
        self.delivery_limit = self._broker.options.delivery_limit

    def find(self, queues: Iterable[str], task_id: str) -> Search:
        """Look for a task in all places of the queues, the shards side by side.

        Raises:
            ClusterUnavailableError: No node of the cluster answered.
        """
        self._broker.cluster.refresh()
        shards: dict[str, list[QueueKeys]] = {}
        for queue in queues:
            for part in self._broker.parts(queue):
                shards.setdefault(self._broker.cluster.where(part.meta), []).append(part)
        search = Search()
        with ThreadPoolExecutor(max_workers=max(1, len(shards))) as pool:
            for done in [pool.submit(self._shard, parts, task_id, search) for parts in shards.values()]:
                done.result()
        return search

    def _shard(self, parts: list[QueueKeys], task_id: str, search: Search) -> None:
        for number, part in enumerate(parts):
            try:
                self._broker.absorb(part, DEADLINE)
                # Of a message that moved, the last place.
                seen = {s.message_id: s for place in PLACES for s in self._place(part, place, task_id)}
                search.sightings.extend(seen.values())
                at = self._call(part.completions, "ZSCORE", part.completions, task_id)
                if at is not None:
                    search.completed[part.queue] = float(at) / 1000
            except (exceptions.RedisError, OSError) as error:
                # The others would only wait as long.
                search.unasked.update({left.queue: str(error) for left in parts[number:]})
                return

    def _call(self, *parts: str) -> Any:
        return self._broker.cluster.call(parts[0], *parts[1:], deadline=DEADLINE)

    def _place(self, part: QueueKeys, place: Place, task_id: str) -> Iterator[Sighting]:
        wanted = json.dumps(task_id)[1:]
        cursor, offset = b"", 0
        while True:
            args = (place, cursor, offset, wanted, CHUNK, CHUNK_BYTES)
            reply = self._broker.cluster.script(load("find"), part.declared, partial(_same, args), DEADLINE)
            cursor, offset, now, size, found = reply
            for rank, name, deadline, before, head in found:
                headers = _headers(head, task_id)
                if headers is None:
                    continue
                yield Sighting(
                    place=place,
                    queue=part.queue,
                    part=part.part,
                    node=self._broker.cluster.where(part.meta),
                    seen=now / 1000,
                    position=rank,
                    size=size,
                    headers=headers,
                    **_of_every_place(before),
                    **_of_place(place, part, name, deadline, before),
                )
            if not cursor:
                return

    def close(self) -> None:
        """Close the connections."""
        self._broker.cluster.close()


def _same(args: Sequence[Any], _attempt: int) -> Sequence[Any]:
    return args


def _headers(head: bytes, task_id: str) -> dict[str, Any] | None:
    """The headers of a message of this task; None for one that only looks like it."""
    try:
        message = unpack(head)
    except ValueError:
        return None
    headers: dict[str, Any] = message.get("headers") or {}
    correlation = (message.get("properties") or {}).get("correlation_id")
    return headers if task_id in (headers.get("id"), correlation) else None


def _of_every_place(before: bytes) -> dict[str, Any]:
    """What a queue stores with each message, in front of it."""
    identity, priority, ready, losses, returns, _ = before.rpartition(b" ")[2].split(b":")
    return {
        "message_id": identity.decode(),
        "priority": int(priority),
        "ready": int(ready) / 1000,
        "losses": int(losses),
        "returns": int(returns),
    }


def _of_place(place: Place, part: QueueKeys, name: bytes, deadline: bytes, before: bytes) -> dict[str, Any]:
    """What only messages of this place have; `name` is the lease of one in flight, else its score."""
    if place == "delayed":
        return {"due": float(name) / 1000}
    if place == "inflight":
        _, _, holder = name.decode().rpartition(":")[0].partition("@")
        times = before.split(b" ")[1:-1]
        since = int(times[0]) / 1000 if times else 0.0
        return {"holder": holder, "since": since, "until": float(deadline or 0) / 1000}
    if place == "dead":
        dead = deadlist.read(part, before, float(name))
        return {"reason": dead.reason, "exception": dead.cause.exception, "died": dead.died / 1000}
    return {}
