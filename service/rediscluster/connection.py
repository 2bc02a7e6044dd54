"""Connections to a node: their names, and one of one's own for commands that block or push."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .activity import count
from .naming import Purpose, client_name


def introduction(purpose: Purpose, prefix: str | None) -> Callable[[Any], None]:
    """What a connection of redis-py does once its socket is open (`redis_connect_func`): log in and say its name.

    It also notes the time, for `expired`.

    The name is made then and not before: a pool may outlive a fork, and the child is another process.
    """

    def introduce(connection: Any) -> None:
        connection.client_name = client_name(purpose, prefix)
        connection.on_connect()
        connection.logged_in_at = time.monotonic()
        count("connections")

    return introduce


def expired(connection: Any, lifetime: float | None) -> bool:
    """Whether a connection of redis-py logged in more than `lifetime` seconds ago; None: it never ends."""
    return lifetime is not None and time.monotonic() - connection.logged_in_at > lifetime


class NodeConnection:
    """Wraps a connection of redis-py, whose socket has no public name."""

    def __init__(self, connection: Any) -> None:
        """Connect.

        Raises:
            redis.exceptions.RedisError: The node cannot be reached or refuses the credentials.
        """
        self._connection = connection
        connection.connect()
        self.fileno: int = connection._sock.fileno()

    def send(self, *command: Any) -> None:
        """Send a command; its reply is read later."""
        self._connection.send_command(*command)

    def readable(self) -> bool:
        """Whether `read` would return at once, or fail."""
        return bool(self._connection.can_read(timeout=0))

    def read(self) -> Any:
        """Read one reply or push.

        Raises:
            redis.exceptions.RedisError: The reply is an error, or the connection is lost.
        """
        return self._connection.read_response()

    def expired(self, lifetime: float | None) -> bool:
        """Whether it logged in more than `lifetime` seconds ago; None: it never ends."""
        return expired(self._connection, lifetime)

    def close(self) -> None:
        """Close it; harmless in a forked child, whose parent goes on using it."""
        self._connection.disconnect()
