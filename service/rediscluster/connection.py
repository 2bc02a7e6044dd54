"""A connection of one's own to a node, for commands that block or push: send, wait for the socket, read."""

from __future__ import annotations

from typing import Any


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

    def close(self) -> None:
        """Close it; harmless in a forked child, whose parent goes on using it."""
        self._connection.disconnect()
