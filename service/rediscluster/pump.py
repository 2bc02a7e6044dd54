"""The native thread of a session: it renews leases, sends what waits, and blocks on wake tokens and fanout streams.

Whatever a consumer must react to, it says to the consumer's `Inbox`; it never delivers a message itself.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from typing import TYPE_CHECKING

from redis import exceptions

from .activity import tell_summaries
from .broker import Broker
from .cluster import BROKEN, backoff
from .connection import NodeConnection
from .errors import ConfigurationError
from .keys import QueueKeys
from .logs import logger_for
from .native import Bell, Gate, readable, start_thread
from .topology import Address
from .watch import FanoutReader, Watch

if TYPE_CHECKING:
    from .session import Session

logger = logger_for(__name__)

#: Seconds for which acks may wait for the next request of a consumer.
FLUSH_AFTER = 0.1
#: Seconds that a blocking command's reply may be late before the node counts as unreachable.
OVERDUE = 5.0
#: Seconds between two readings of the topology while something cannot be reached.
REFRESH = 0.5
#: Seconds after which the server has noticed that a connection was closed, and gives it no token any more.
FAREWELL = 0.05

#: The process whose lease thread started last: a child inherits the note and not the thread.
_started_in: int | None = None


class _Blocked:
    """A watch that blocks right now."""

    def __init__(self, watch: Watch, connection: NodeConnection, address: Address) -> None:
        self.watch = watch
        self.connection = connection
        self.address = address
        self.overdue_at = time.monotonic() + watch.seconds + OVERDUE


class Pump:
    """Starts with the first lease or watch and runs until the session is closed."""

    def __init__(self, session: Session) -> None:
        """Nothing runs before `start`."""
        self._session = session
        self._bell = Bell()
        self._starting = Gate()
        self._running = False
        self._stopping = False
        self._commands: deque[tuple[Watch, float, float]] = deque()
        self._look_everywhere = False
        self._flush_at = 0.0
        self._blocked: dict[int, _Blocked] = {}
        self._idle: dict[Watch, tuple[NodeConnection, Address]] = {}
        self._timers: dict[Watch, tuple[float, bool]] = {}
        self._renew_at = 0.0
        self._renew_failures = 0
        self._temporary_at = math.inf
        self._suspect: Address | None = None
        self._refresh_at = 0.0
        self._farewells: dict[QueueKeys, float] = {}

    # -- called from any thread -------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._running

    @property
    def renewal_due(self) -> float | None:
        """When the next round of renewals is due, on the monotonic clock; None before the first."""
        return self._renew_at or None

    @property
    def watching(self) -> bool:
        """Whether a consumer waits for messages, or for the moment to try again."""
        return bool(self._blocked or self._timers)

    def start(self) -> None:
        """Start the thread, once."""
        if self._running or self._stopping:
            return
        with self._starting:
            if self._running:
                return
            # Its own connections: under gevent and eventlet those of the other threads belong to their hub.
            self._broker = Broker(self._session.options)
            self._broker.cluster.on_change = self._session.on_topology_change
            self._broker.cluster.purpose = "renew"
            self._running = True
            start_thread(self._run)
            self._tell_start()

    def _tell_start(self) -> None:
        global _started_in
        forked = _started_in not in (None, os.getpid())
        after = f", after a fork of process {_started_in}" if forked else ""
        lease = self._session.options.lease
        logger.info("lease thread started%s: leases of %g s are renewed every %.1f s", after, lease, lease / 3)
        _started_in = os.getpid()

    def stop(self) -> None:
        """End the thread, and wait for it: one that outlives the interpreter crashes it under eventlet."""
        self._stopping = True
        self._bell.ring()
        ends = time.monotonic() + OVERDUE
        while self._running and time.monotonic() < ends:
            time.sleep(0.002)

    def watch(self, watch: Watch, seconds: float, after: float = 0.0) -> None:
        """Block on a watch.

        Args:
            watch: What to wait for.
            seconds: For how long; then the consumer is woken all the same.
            after: Above 0, do not block but wake the consumer after that many seconds.
        """
        self.start()
        self._commands.append((watch, seconds, after))
        self._bell.ring()

    def close(self, watch: Watch) -> None:
        """Stop waiting, close the connection, and hand on what it may have been woken for meanwhile."""
        watch.closed = True
        if self._running:
            self._commands.append((watch, 0.0, 0.0))
            self._bell.ring()

    def nudge(self) -> None:
        """Something waits to be sent: send it soon if no request of a consumer takes it along."""
        if not self._flush_at:
            self._flush_at = time.monotonic() + FLUSH_AFTER
            self.start()
            self._bell.ring()

    def look_everywhere(self) -> None:
        """Wake all consumers."""
        self._look_everywhere = True
        self._bell.ring()

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    self._turn()
                except Exception:
                    # The thread must live: without it every lease of the process ends.
                    logger.exception("the lease thread failed and goes on")
                    time.sleep(0.5)
            self._end()
        finally:
            self._running = False

    def _turn(self) -> None:
        self._wait(min(self._renew_at, self._temporary_at))
        self._check_times()
        self._take_commands()
        tell_summaries()
        self._broker.cluster.close_unused()
        self._temporary_at = self._session.refresh_temporary(self._broker)
        now = time.monotonic()
        if self._flush_at and now >= self._flush_at:
            self._flush_at = 0.0
            self._session.flush(self._broker)
            if self._session.unsent():
                self._flush_at = time.monotonic() + 5 * FLUSH_AFTER
        if now >= self._renew_at:
            if self._session.renew(self._broker):
                self._renew_failures = 0
                self._renew_at = now + self._session.options.lease / 3
            else:
                self._renew_at = time.monotonic() + backoff(self._renew_failures)
                self._renew_failures += 1
            if self._session.unsent():
                self.nudge()

    def _end(self) -> None:
        left = set(self._farewells)
        for blocked in self._blocked.values():
            blocked.connection.close()
            if blocked.watch.queue is not None:
                left.add(blocked.watch.queue)
        for connection, _ in self._idle.values():
            connection.close()
        if left:
            time.sleep(FAREWELL)
        for queue in left:
            self._session.pass_on(queue, self._broker)
        self._broker.cluster.close()

    def _wait(self, until: float) -> None:
        now = time.monotonic()
        moments = [until, now + OVERDUE, *(at for at, _ in self._timers.values())]
        moments += [blocked.overdue_at for blocked in self._blocked.values()]
        moments += self._farewells.values()
        if self._timers:
            moments.append(self._refresh_at)
        if self._flush_at:
            moments.append(self._flush_at)
        for number in readable([self._bell.fileno, *self._blocked], min(moments) - now):
            if number == self._bell.fileno:
                self._bell.hear()
            else:
                self._read(self._blocked.pop(number))

    def _check_times(self) -> None:
        now = time.monotonic()
        for number, blocked in list(self._blocked.items()):
            if now >= blocked.overdue_at:
                silent = exceptions.TimeoutError("no reply to a command that should have ended by itself")
                self._broker.cluster.failed(blocked.address, silent, blocked.overdue_at - OVERDUE)
                del self._blocked[number]
                self._lost(blocked.watch, blocked.connection, blocked.address)
        if self._timers and now >= self._refresh_at:
            # Something could not be reached: find out when somebody else serves it.
            self._refresh(self._suspect)
        for queue, at in list(self._farewells.items()):
            if now >= at:
                del self._farewells[queue]
                self._session.pass_on(queue, self._broker)
        for watch, (at, block) in list(self._timers.items()):
            if now >= at:
                del self._timers[watch]
                if block:
                    self._block(watch)
                elif not watch.closed:
                    watch.inbox.wake(watch)

    def _take_commands(self) -> None:
        while self._commands:
            watch, seconds, after = self._commands.popleft()
            if watch.closed:
                self._close(watch)
            elif after:
                self._timers[watch] = (time.monotonic() + after, False)
            else:
                watch.block_for(seconds)
                self._block(watch)
        if self._look_everywhere:
            self._look_everywhere = False
            for number, blocked in list(self._blocked.items()):
                if self._primary(blocked.watch) != blocked.address:
                    del self._blocked[number]
                    self._lost(blocked.watch, blocked.connection)
                else:
                    blocked.watch.failed()
            self._timers = {watch: (0.0, block) for watch, (_, block) in self._timers.items()}

    def _primary(self, watch: Watch) -> Address | None:
        try:
            return self._broker.cluster.primary(watch.key)
        except (exceptions.RedisError, ConfigurationError):
            return None

    def _close(self, watch: Watch) -> None:
        if watch.queue is not None:
            self._farewells[watch.queue] = time.monotonic() + FAREWELL
        self._timers.pop(watch, None)
        connection, _ = self._idle.pop(watch, (None, None))
        if connection is not None:
            connection.close()
        for number, blocked in list(self._blocked.items()):
            if blocked.watch is watch:
                del self._blocked[number]
                blocked.connection.close()

    def _block(self, watch: Watch) -> None:
        if watch.closed or any(blocked.watch is watch for blocked in self._blocked.values()):
            return
        connection, known = self._idle.pop(watch, (None, None))
        try:
            address = self._broker.cluster.primary(watch.key)
            lifetime = self._session.options.connection_lifetime
            if connection is not None and (known != address or connection.expired(lifetime)):
                connection.close()
                connection = None
            command = watch.command(self._broker)
            if connection is None:
                connection = self._broker.cluster.connect(watch.key, watch.purpose)
            connection.send(*command)
            self._blocked[connection.fileno] = _Blocked(watch, connection, address)
        except (exceptions.RedisError, OSError, ConfigurationError) as error:
            logger.debug("cannot watch %s: %s", watch.key, error)
            self._lost(watch, connection)

    def _read(self, blocked: _Blocked) -> None:
        watch, connection = blocked.watch, blocked.connection
        try:
            reply = connection.read()
        except (exceptions.RedisError, OSError) as error:
            logger.debug("lost the watch on %s: %s", watch.key, error)
            if isinstance(error, BROKEN):
                self._broker.cluster.failed(blocked.address, error, time.monotonic())
            self._lost(watch, connection, blocked.address)
            return
        self._idle[watch] = (connection, blocked.address)
        self._session.answered_at = time.monotonic()
        watch.failures = 0
        if not watch.closed and watch.answered(reply):
            self._block(watch)

    def _lost(self, watch: Watch, connection: NodeConnection | None, address: Address | None = None) -> None:
        if connection is not None:
            connection.close()
        watch.failures += 1
        self._suspect = address or self._suspect
        self._refresh(address)
        reads_stream = isinstance(watch, FanoutReader)
        self._timers[watch] = (time.monotonic() + backoff(watch.failures), reads_stream)

    def _refresh(self, avoid: Address | None) -> None:
        try:
            self._broker.cluster.refresh(avoid=avoid)
        except (exceptions.RedisError, OSError, ConfigurationError) as error:
            logger.debug("topology not readable: %s", error)
        self._refresh_at = time.monotonic() + REFRESH
