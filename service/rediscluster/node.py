"""A node of the cluster: the connections that are kept to it, and packed commands on them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from redis import exceptions

from .connection import expired


class Ask(Protocol):
    """Sends a packed command and returns its reply; those of `more` commands in the same packet are passed over."""

    def __call__(self, request: bytes, more: int = 0) -> Any:
        """Raise what redis-py raises."""


#: Seconds after which an unused connection is looked at before it is used again: the server may have closed it.
IDLE_SECONDS = 1.0


class Node:
    """Connections to one server. All methods may be called from any thread, and raise what redis-py raises.

    redis-py's client and pool do this too, for three times the time of a request: they allow for much that does not
    occur here. Nothing is repeated: that is decided by the caller, who knows what may be.
    """

    def __init__(self, make: Callable[[], Any], lifetime: float | None = None) -> None:
        """Nothing connects yet.

        Args:
            make: Returns a connection of redis-py, which connects when it is first used.
            lifetime: Seconds after which a connection is not used again; None: never.
        """
        self._make = make
        self._lifetime = lifetime
        self._idle: deque[tuple[Any, float]] = deque()
        self._pid = os.getpid()

    def ask(self, request: bytes, more: int = 0) -> Any:
        """Send a packed command, and `more` behind it; returns the reply of the first as the server sent it."""
        # As in `_connection`, which costs as much time as all the rest here.
        connection = self._idle_connection() or self._make()
        try:
            connection.send_packed_command([request], check_health=False)
            reply = _first(connection, more) if more else connection.read_response()
        except exceptions.ResponseError:
            self._idle.append((connection, time.monotonic()))
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append((connection, time.monotonic()))
        return reply

    @contextmanager
    def one_connection(self) -> Iterator[Ask]:
        """Send packed commands over one connection: for those that are about the one before."""
        with self._connection() as connection:

            def ask(request: bytes, more: int = 0) -> Any:
                connection.send_packed_command([request], check_health=False)
                return _first(connection, more)

            yield ask

    def ask_all(self, requests: Sequence[bytes]) -> list[Any]:
        """Send packed commands in one round trip; returns their replies, those that are errors among them."""
        with self._connection() as connection:
            connection.send_packed_command([b"".join(requests)], check_health=False)
            return [_reply(connection) for _ in requests]

    @property
    def connected(self) -> bool:
        """Whether there is a connection that nobody uses at the moment."""
        return bool(self._idle)

    def close(self, unused: float = 0.0) -> None:
        """Close the connections that nobody uses at the moment, nor has used for so many seconds."""
        until = time.monotonic() - unused
        while self._idle:
            try:
                # The one that was used last is at the other end.
                connection, since = self._idle.popleft()
            except IndexError:
                return
            if since > until:
                self._idle.appendleft((connection, since))
                return
            connection.disconnect()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        connection = self._idle_connection() or self._make()
        try:
            yield connection
        except exceptions.ResponseError:
            # The reply was read to its end.
            self._idle.append((connection, time.monotonic()))
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append((connection, time.monotonic()))

    def _idle_connection(self) -> Any:
        if self._pid != os.getpid():
            # Forked: the parent goes on with these.
            self._idle, self._pid = deque(), os.getpid()
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                break
            fresh = time.monotonic() - since < IDLE_SECONDS or not _closed(connection)
            if fresh and not expired(connection, self._lifetime):
                return connection
            connection.disconnect()
        return None


def _closed(connection: Any) -> bool:
    try:
        # There is nothing to be read from one that still stands.
        return bool(connection.can_read(timeout=0))
    except (exceptions.RedisError, OSError):
        return True


def _first(connection: Any, more: int) -> Any:
    """The first of several replies; the others are read too, so that the connection can be used again."""
    reply = _reply(connection)
    for _ in range(more):
        _reply(connection)
    if isinstance(reply, Exception):
        raise reply
    return reply


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except exceptions.ResponseError as error:
        return error
