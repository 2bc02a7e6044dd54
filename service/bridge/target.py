"""The fleet's side: storing each message once, whatever is killed, repeated or late."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import chain
from typing import Any
from uuid import uuid4

from redis import exceptions

from service import rediscluster
from service.rediscluster.broker import Broker
from service.rediscluster.keys import QueueKeys
from service.rediscluster.options import Options
from service.rediscluster.scripts import Script, script

from .messages import Arrival
from .old import SupersededError

#: Fields of the record of arrivals that are no identities.
_NOT_IDENTITIES = frozenset({b"", b"epoch", b"number"})


class Target:
    """The queues of the fleet, for one bridge."""

    def __init__(self, options: Options, replicas: int) -> None:
        """Connects on first use.

        Args:
            options: How to reach the cluster.
            replicas: How many replicas must confirm what is stored before the old Redis forgets it.
        """
        self.broker = Broker(options)
        self._replicas = replicas
        self._script = _arrive()
        self._source, self._epoch, self._number = "", 0, 0
        #: For each queue part that was written to: identities of settled messages, which it may forget.
        self._settled: dict[QueueKeys, list[str]] = {}

    def exists(self, queue: str) -> bool:
        """Whether a queue is declared.

        Raises:
            ClusterUnavailableError: The cluster does not answer.
        """
        return self.broker.exists(self.broker.keys(queue))

    def claim(self, source: str, epoch: int) -> None:
        """Store on behalf of the bridge with this epoch, of the broker with this name."""
        self._source, self._epoch = source, epoch

    def store(self, arrivals: Sequence[Arrival]) -> int:
        """Store everything that was taken and is not settled, in order; what is stored already is passed over.

        Returns:
            How many were stored now.

        Raises:
            SupersededError: Another bridge has come.
            ClusterUnavailableError: Not confirmed within the deadline: they may or may not have been stored.
            redis.exceptions.OutOfMemoryError: The cluster is full.
        """
        parts: dict[QueueKeys, list[Arrival]] = {}
        for arrival in arrivals:
            parts.setdefault(self.broker.part_of(arrival.label.to, arrival.identity), []).append(arrival)
        unsettled = {arrival.id for arrival in arrivals}
        return sum(self._store(part, some, unsettled) for part, some in parts.items())

    def finish(self) -> None:
        """Forget what is settled; raises as `store`."""
        for part, settled in self._settled.items():
            if settled:
                self._request(part, [])

    def _store(self, part: QueueKeys, arrivals: Sequence[Arrival], unsettled: set[str]) -> int:
        if part not in self._settled:
            self._settled[part] = self._prepare(part, unsettled)
        stored = self._request(part, arrivals)
        # Settled by the time of the next request to this part, or there is none.
        self._settled[part] = [arrival.id for arrival in arrivals]
        return stored

    def _prepare(self, part: QueueKeys, unsettled: set[str]) -> list[str]:
        """Make what is missing; returns what an earlier bridge has settled and could not forget any more."""
        if not self.broker.exists(part):
            self.broker.declare(part)
        call, key = self.broker.cluster.call, self._record(part)
        call(key, "HSETNX", key, "", "")
        return [
            name.decode() for name in set(call(key, "HKEYS", key)) - _NOT_IDENTITIES if name.decode() not in unsettled
        ]

    def _record(self, part: QueueKeys) -> str:
        """Hash of what arrived from our broker and may be sent again, beside the queue's own keys."""
        return f"{part.meta.removesuffix('meta')}bridge:{self._source}"

    def _request(self, part: QueueKeys, arrivals: Sequence[Arrival]) -> int:
        self._number += 1
        settled = self._settled.get(part, [])
        window = int(self.broker.options.dedupe_window * 1000)
        messages = chain.from_iterable((a.id, a.priority, a.due_ms, a.payload) for a in arrivals)
        rest = [window, len(settled), *settled, *messages]

        def args(_attempt: int) -> list[Any]:
            # The record recognises repetitions, the lane must not: it would pass over what was never stored.
            return [part.wake, self._epoch, self._number, uuid4().hex, *rest]

        keys = (*part.declared, self._record(part))
        try:
            stored = int(self.broker.cluster.script(self._script, keys, args, replicas=self._replicas))
        except exceptions.ResponseError as error:
            if str(error).startswith("SUPERSEDED"):
                raise SupersededError from error
            raise
        if part in self._settled:
            self._settled[part] = []
        return stored

    def close(self) -> None:
        """Close the connections."""
        self.broker.cluster.close()


def _arrive() -> Script:
    """Our script behind the transport's: what makes a message ready must be its code, not a copy."""
    folder = files(rediscluster).joinpath("lua")
    shared, publish = (folder.joinpath(f"{name}.lua").read_text("utf-8") for name in ("lib", "publish"))
    ours = files(__package__).joinpath("lua/arrive.lua").read_text("utf-8")
    body = publish.partition("\n")[2]
    return script("arrive", f"#!lua\n{shared}\nlocal function publish(ARGV)\n{body}\nend\n{ours}")
