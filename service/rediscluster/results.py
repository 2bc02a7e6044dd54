"""Waiting for results without polling: sharded publish/subscribe, on each result's own slot.

A subscription ends silently when its slot moves or its node goes, and what is published meanwhile is lost. So after
every new subscription the result is read, and all pending results are read now and then besides.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

from celery import states
from celery.backends.asynchronous import BaseResultConsumer
from redis import exceptions

from .cluster import BROKEN, backoff
from .connection import NodeConnection
from .errors import is_retryable
from .native import wait_readable
from .topology import Address

logger = logging.getLogger(__name__)

#: Seconds between two readings of results that should have been announced.
SLOW_READ = 5.0
#: Pending results read at a time.
SLOW_READ_BATCH = 500


class ResultConsumer(BaseResultConsumer):
    """Subscribes to pending results. Any thread or green thread may wait; one at a time listens for all."""

    backend: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is subscribed before the first result is waited for."""
        super().__init__(*args, **kwargs)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._heard = threading.Condition(self._lock)
        self._listening = False
        #: Where each pending result is subscribed; None while it is not.
        self._pending: dict[str, Address | None] = {}
        self._connections: dict[Address, NodeConnection] = {}
        self._cancelled: deque[str] = deque()
        self._failures = 0
        self._subscribe_at = 0.0
        self._slow_read_at = time.monotonic() + SLOW_READ

    # -- Celery's interface -----------------------------------------------------------------------------------------

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        """Wait for a first result."""
        self.consume_from(initial_task_id)

    def consume_from(self, task_id: str) -> None:
        """Wait for a result."""
        key = self.backend.get_key_for_task(task_id)
        with self._lock:
            self._forget_cancelled(keep=key)
            if key not in self._pending:
                self._pending[key] = None
                self._subscribe([key])

    def cancel_for(self, task_id: str) -> None:
        """Wait no longer. Runs inside the garbage collector too, so it only leaves a note."""
        self._cancelled.append(self.backend.get_key_for_task(task_id))

    def on_wait_for_pending(self, result: Any, **kwargs: Any) -> None:  # type: ignore[override] # as Celery's own has it
        """Read what may have been stored before we subscribed."""
        for meta in result._iter_meta(**kwargs):
            if meta is not None:
                self.on_state_change(meta, None)
                if meta["status"] in (states.SUCCESS, states.FAILURE):
                    # Nobody will take it from the buffer of results that came before they were waited for.
                    self._unbuffer(meta["task_id"])
        self.forget_cancelled()

    def forget_cancelled(self) -> None:
        """Unsubscribe from what nobody waits for any more."""
        with self._lock:
            self._forget_cancelled()

    def _unbuffer(self, task_id: str) -> None:
        buffered = self.backend._pending_messages
        try:
            messages = buffered.pop(task_id)
        except KeyError:
            return
        buffered.total -= len(messages)

    def on_state_change(self, meta: dict[str, Any], message: Any) -> None:
        """Pass a state on to whoever waits for it."""
        super().on_state_change(meta, message)
        if meta["status"] in states.READY_STATES:
            self.cancel_for(meta["task_id"])

    def stop(self) -> None:
        """Close the connections."""
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()
            self._pending = dict.fromkeys(self._pending)

    def on_after_fork(self) -> None:
        """Start anew in a forked child: the connections are the parent's."""
        self._reset()
        self.backend.__dict__.pop("client", None)

    def drain_events(self, timeout: float | None = None) -> None:
        """Wait up to `timeout` seconds, at most one, and pass on what came."""
        wait = 1.0 if timeout is None else min(timeout, 1.0)
        with self._lock:
            if self._listening:
                # Whoever listens may read what we wait for; then our wait must end too.
                self._heard.wait(wait)
                return
            values = self._repair()
            sockets = {connection.fileno: address for address, connection in self._connections.items()}
            if values is None:
                values = self._read(list(self._connections))
            self._listening = not values
        if not values:
            try:
                if sockets:
                    ready = wait_readable(list(sockets), wait)
                else:
                    time.sleep(min(wait, 0.05))
                    ready = []
            except OSError:
                # Closed meanwhile.
                ready = []
            finally:
                with self._lock:
                    self._listening = False
            with self._lock:
                values = self._read([sockets[number] for number in ready])
        for value in values:
            self.on_state_change(self.backend.decode_result(value), None)
        with self._lock:
            self._forget_cancelled()
            self._heard.notify_all()

    # -- subscriptions, under the lock ------------------------------------------------------------------------------

    def _repair(self) -> list[bytes] | None:
        """Subscribe what lost its subscription and read it; read slowly what should have come. None: nothing to do."""
        now = time.monotonic()
        self._drop_expired()
        lost = [key for key, address in self._pending.items() if address is None]
        if lost and now >= self._subscribe_at:
            self._subscribe(lost)
            return self._values(lost)
        if now >= self._slow_read_at:
            self._slow_read_at = now + SLOW_READ
            batch = list(self._pending)[:SLOW_READ_BATCH]
            for key in batch:
                # To the end: the others come next.
                self._pending[key] = self._pending.pop(key)
            overlooked = self._values(batch)
            if overlooked:
                logger.debug("%d results had not been announced", len(overlooked))
            return overlooked or None
        return None

    def _values(self, keys: list[str]) -> list[bytes]:
        try:
            return [value for value in self.backend.client.mget(keys) if value]
        except (exceptions.RedisError, OSError) as error:
            logger.debug("pending results not readable: %s", error)
            return []

    def _subscribe(self, keys: list[str]) -> None:
        self._drop_expired()
        cluster = self.backend.client.cluster
        for key in keys:
            address: Address | None = None
            try:
                address = cluster.primary(key)
                if address not in self._connections:
                    self._connections[address] = cluster.connect(key, "subscribe")
                self._connections[address].send("SSUBSCRIBE", key)
                self._pending[key] = address
                self._failures = 0
            except Exception as error:
                if not is_retryable(error):
                    raise
                logger.debug("cannot subscribe to results: %s", error)
                if address is not None:
                    self._drop(address)
                self._subscribe_at = time.monotonic() + backoff(self._failures)
                self._failures += 1
                return

    def _drop_expired(self) -> None:
        for address, connection in list(self._connections.items()):
            if connection.expired(self.backend.options.connection_lifetime):
                self._drop(address)

    def _drop(self, address: Address) -> None:
        connection = self._connections.pop(address, None)
        if connection is not None:
            connection.close()
        for key, subscribed in self._pending.items():
            if subscribed == address:
                self._pending[key] = None
        try:
            self.backend.client.cluster.refresh(avoid=address)
        except (exceptions.RedisError, OSError) as error:
            logger.debug("topology not readable: %s", error)

    def _read(self, addresses: list[Address]) -> list[bytes]:
        values: list[bytes] = []
        for address in addresses:
            connection = self._connections.get(address)
            try:
                while connection is not None and connection.readable():
                    kind, channel, content = connection.read()
                    if kind == b"smessage":
                        values.append(content)
                    elif kind == b"sunsubscribe" and self._pending.get(channel.decode()) == address:
                        # The slot has moved.
                        self._pending[channel.decode()] = None
            except (exceptions.RedisError, OSError) as error:
                logger.debug("subscriptions of %s:%d lost: %s", *address, error)
                if isinstance(error, BROKEN):
                    self.backend.client.cluster.failed(address, error, time.monotonic())
                self._drop(address)
        return values

    def _forget_cancelled(self, keep: str | None = None) -> None:
        while self._cancelled:
            key = self._cancelled.popleft()
            address = self._pending.pop(key, None) if key != keep else None
            if address is not None and address in self._connections:
                try:
                    self._connections[address].send("SUNSUBSCRIBE", key)
                except (exceptions.RedisError, OSError):
                    self._drop(address)
