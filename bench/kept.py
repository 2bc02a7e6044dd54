"""kombu's Redis transport, changed in one point: a channel keeps its client instead of building one for every call.

About half of what stock pays for a publish is that object. It is not what anybody runs; it shows how much of a ratio
comes from there. Importing this module registers the scheme `keptredis://`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

SCHEME = "keptredis"


class Channel(redis.Channel):
    """A channel with one client."""

    _create_client: Any
    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Give the caller's client, or the kept one."""
        if client is None:
            # After a fork or a reconnect there is another pool.
            if self._kept is None or self._kept.connection_pool is not self.pool:
                self._kept = self._create_client()
            client = self._kept
        yield client


class Transport(redis.Transport):
    """The transport of such channels."""

    Channel = Channel


TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
