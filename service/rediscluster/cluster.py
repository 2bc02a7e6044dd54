"""The only module that knows the cluster's topology: which node serves a key, and what to do when that changes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.retry import Retry

from .activity import count
from .connection import NodeConnection, introduction
from .errors import ClusterUnavailableError, ConfigurationError, NotReplicatedError, is_retryable
from .logs import logger_for
from .naming import Purpose
from .node import Ask, Node
from .options import Options
from .outages import ALL_SLOTS, EVERYTHING, outages_of
from .scripts import Script
from .topology import NAMED, Address, SlotRange, changes, name, primary_of, slot_of, slots_named, spans_of
from .wire import Part, command, script_call

logger = logger_for(__name__)

#: The connection is gone, or nothing came in time.
BROKEN = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
#: Milliseconds to wait for the confirmation of replicas.
WAIT_MS = 1000
#: Seconds after which a connection that was not used is closed.
UNUSED = 30.0
#: Seconds between attempts: doubled each time, with jitter.
BACKOFF_FIRST = 0.05
BACKOFF_LAST = 0.5


#: Nodes that this process, or the one it was forked from, has seen, by the seeds they were found from: one that
#: starts while its only seed is frozen finds the others here.
_seen: dict[tuple[Address, ...], tuple[Address, ...]] = {}
#: The topology that a client of this process read last, by the seeds: there are several clients of each cluster.
_newest: dict[tuple[Address, ...], tuple[SlotRange, ...]] = {}


class Cluster:
    """Runs commands and scripts on the primary of a key's slot.

    Connections are made on demand and kept per primary. All methods may be called from any thread.
    """

    def __init__(self, options: Options) -> None:
        """Remember the options; nothing connects before the first request."""
        self.options = options
        #: Called after a change of topology, from the thread that noticed it.
        self.on_change: Callable[[], None] | None = None
        #: What its connections are for; they say so in their names.
        self.purpose: Purpose = "commands"
        self._outages = outages_of(options)
        self._ranges: tuple[SlotRange, ...] = ()
        self._nodes: dict[Address, Node] = {}
        self._refreshed_at = 0.0
        self._close_unused_at = 0.0
        self._lock = threading.RLock()

    # -- topology ---------------------------------------------------------------------------------------------------

    def primary(self, key: str) -> Address:
        """The address of the primary that serves `key`, as far as known.

        Raises:
            ClusterUnavailableError: No node told the topology, or nobody serves the slot.
        """
        if not self._ranges:
            self.refresh()
        slot = slot_of(key)
        address = primary_of(slot, self._ranges)
        if address is None:
            self._refreshed_at = 0.0
            self.refresh()
            address = primary_of(slot, self._ranges)
        if address is None:
            error = ClusterUnavailableError(f"no primary serves slot {slot} of {key!r}")
            self._outages.failed(f"slot {slot}", [(slot, slot)], error, time.monotonic())
            raise error
        return address

    def where(self, key: str) -> str:
        """`host:port` of the primary that serves `key`, for people: as far as known, without asking."""
        address = primary_of(slot_of(key), self._ranges)
        return name(address) if address else "an unknown node"

    def refresh(self, *, avoid: Address | None = None, at_most_every: float = 0.1) -> None:
        """Read the topology from any node that answers.

        Args:
            avoid: A node that just failed and is asked last.
            at_most_every: Seconds since the last reading within which nothing is read.

        Raises:
            ClusterUnavailableError: No node answered.
            ConfigurationError: A node answered that it is not part of a cluster, or refused the credentials.
        """
        with self._lock:
            if time.monotonic() - self._refreshed_at < at_most_every:
                return
            known = [address for _, _, address in self._ranges]
            seen = _seen.get(self.options.seeds, ())
            candidates = list(dict.fromkeys([*known, *self._nodes, *seen, *self.options.seeds]))
            random.shuffle(candidates)
            # A connection that is there need not be made.
            candidates.sort(key=lambda address: (address == avoid, not self._node(address).connected))
            started = time.monotonic()
            failures: list[str] = []
            for address in candidates:
                try:
                    slots = self._node(address).ask(command("CLUSTER", "SLOTS"))
                except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
                    self.failed(address, error, started)
                    if self.options.credential_provider is None:
                        raise ConfigurationError(f"{name(address)} refused the credentials: {error}") from error
                    failures.append(f"{name(address)} refused the credentials: {error}")
                except exceptions.ResponseError as error:
                    if "cluster support disabled" in str(error):
                        raise ConfigurationError(
                            f"{name(address)} is not in cluster mode; use redis:// for a single Redis"
                        ) from error
                    failures.append(f"{name(address)}: {error}")
                except (exceptions.RedisError, OSError) as error:
                    failures.append(f"{name(address)}: {error}")
                else:
                    if slots:
                        self._adopt(slots, address)
                        return
                    failures.append(f"{name(address)}: serves no slots")
            silent = ClusterUnavailableError("no node of the cluster answered: " + "; ".join(failures))
            self._outages.failed(EVERYTHING, [ALL_SLOTS], silent, started)
            raise silent

    def _adopt(self, slots: Sequence[Any], asked: Address) -> None:
        ranges = tuple(sorted((int(s[0]), int(s[1]), _address(s[2], asked)) for s in slots))
        replicas = {_address(node, asked) for s in slots for node in s[3:]}
        self._refreshed_at = time.monotonic()
        count("topology_refreshes")
        self._outages.answered(asked)
        self._tell_change(ranges)
        if ranges == self._ranges:
            return
        changed = bool(self._ranges)
        primaries = {address for _, _, address in ranges}
        _seen[self.options.seeds] = tuple(primaries | replicas)
        for address in set(self._nodes) - primaries - replicas - set(self.options.seeds):
            # A thread that still waits for a reply there ends by its own time-out.
            self._nodes.pop(address).close()
        self._ranges = ranges
        if changed and self.on_change is not None:
            self.on_change()

    def _tell_change(self, ranges: tuple[SlotRange, ...]) -> None:
        before = _newest.get(self.options.seeds, ranges)
        _newest[self.options.seeds] = ranges
        if before != ranges and (moved := changes(before, ranges)):
            count("topology_changes")
            more = f"; and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
            logger.info("topology changed: %s%s", "; ".join(moved[:NAMED]), more)

    def _node(self, address: Address) -> Node:
        # Whoever comes second gets what came first.
        return self._nodes.get(address) or self._nodes.setdefault(
            address, Node(partial(self._make, address), self.options.connection_lifetime)
        )

    def _make(self, address: Address, purpose: Purpose | None = None) -> Any:
        kind = SSLConnection if self.options.tls else Connection
        return kind(
            host=address[0],
            port=address[1],
            # Repeating is decided here alone: a blind repeat on the same node would lose messages.
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=introduction(purpose or self.purpose, self.options.client_name),
            **self.options.connection_arguments(),
        )

    def connect(self, key: str, purpose: Purpose = "commands") -> NodeConnection:
        """Open a connection of one's own to the primary of `key`, for a blocking command.

        Raises:
            redis.exceptions.RedisError: It cannot be reached, or the topology cannot be read.
        """
        address = self.primary(key)
        started = time.monotonic()
        try:
            connection = NodeConnection(self._make(address, purpose))
        except (exceptions.RedisError, OSError) as error:
            self.failed(address, error, started)
            raise
        if self._outages.open:
            self._outages.served(slot_of(key), address)
        return connection

    def failed(self, address: Address, error: Exception, started: float, key: str | None = None) -> None:
        """Note for log and counters that a node did not serve a request.

        Args:
            address: The node.
            error: How it failed.
            started: When the request was begun, on the monotonic clock.
            key: The request's key.
        """
        if isinstance(error, BROKEN):
            count("connections_lost")
        # One that is no primary any more is not missed: a client that has not heard of it yet may still ask it.
        spans = spans_of(address, _newest.get(self.options.seeds, ()))
        if key is not None and isinstance(error, exceptions.TryAgainError):
            # Only this slot: its migration was left half-way.
            slot = slot_of(key)
            self._outages.failed(f"slot {slot} on {name(address)}", [(slot, slot)], error, started)
        elif spans:
            self._outages.failed(f"shard {name(address)} ({slots_named(spans)})", spans, error, started)

    def covered(self) -> int:
        """How many slots a primary serves, as far as known."""
        return sum(last - first + 1 for first, last, _ in self._ranges)

    def describe(self) -> dict[str, dict[str, str]]:
        """What each primary says of itself (INFO), by its address.

        Raises:
            redis.exceptions.RedisError: One did not answer.
        """
        primaries = sorted({address for _, _, address in self._ranges})
        return {name(address): _fields(self._node(address).ask(command("INFO"))) for address in primaries}

    def close_unused(self) -> None:
        """Close connections that were not used for `UNUSED` seconds; each request does so too."""
        now = time.monotonic()
        if now >= self._close_unused_at:
            self._close_unused_at = now + UNUSED / 2
            for node in list(self._nodes.values()):
                node.close(UNUSED)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for node in self._nodes.values():
                node.close()
            self._nodes.clear()
            self._ranges = ()

    # -- requests ---------------------------------------------------------------------------------------------------

    def once(self, key: str, *parts: Part) -> Any:
        """Run one command on the primary of `key`, following redirections but not waiting for anything.

        Raises:
            redis.exceptions.RedisError: As the server or the connection says; the topology has then been marked stale.
        """
        request = command(*parts)
        return self._attempt(key, lambda ask: ask(request))

    def script_once(self, script: Script, keys: Sequence[str], args: Sequence[Any], replicas: int = 0) -> Any:
        """Run one script, as `once` does a command.

        Args:
            script: What to run.
            keys: Its keys, all in one slot.
            args: Its arguments.
            replicas: How many replicas must confirm what it wrote.

        Raises:
            NotReplicatedError: Fewer did within a second.
            redis.exceptions.RedisError: As for `once`.
        """
        request = script_call(script, keys, args)

        def run(ask: Ask) -> Any:
            try:
                reply = ask(request)
            except exceptions.NoScriptError:
                reply = ask(command("EVAL", script.source, len(keys), *keys, *args))
            return _confirmed(ask, reply, replicas)

        return self._attempt(keys[0], run, one_connection=replicas > 0)

    def _on(self, address: Address, run: Callable[[Ask], Any], *, one_connection: bool) -> Any:
        node = self._node(address)
        self.close_unused()
        if not one_connection:
            return run(node.ask)
        # WAIT is about what its own connection wrote.
        with node.one_connection() as ask:
            return run(ask)

    def _attempt(self, key: str, run: Callable[[Ask], Any], *, one_connection: bool = False) -> Any:
        address = self.primary(key)
        started = time.monotonic()
        try:
            reply = self._on(address, run, one_connection=one_connection)
            if self._outages.open:
                self._outages.served(slot_of(key), address)
            return reply
        except exceptions.MovedError as error:
            count("moved")
            self._refreshed_at = 0.0
            self.refresh(avoid=address)
            moved = (error.host or address[0], int(error.port))
            return self._on(moved, run, one_connection=one_connection)
        except exceptions.AskError as error:
            count("asked")
            return self._asking((error.host or address[0], int(error.port)), run)
        except exceptions.AuthenticationError as error:
            self.failed(address, error, started)
            if self.options.credential_provider is None:
                raise
            # They are being rotated: the provider's next answer may fit.
            raise ClusterUnavailableError(f"{name(address)} refused the credentials: {error}") from error
        except BROKEN as error:
            self.failed(address, error, started)
            if is_retryable(error):
                # The idle connections are as dead as this one.
                self._node(address).close()
                self._mark_stale(address)
            raise
        except exceptions.ResponseError as error:
            if is_retryable(error):
                self.failed(address, error, started, key)
                self._mark_stale(address)
            raise

    def _mark_stale(self, failed: Address) -> None:
        try:
            self.refresh(avoid=failed, at_most_every=BACKOFF_FIRST)
        except (exceptions.RedisError, OSError, ConfigurationError) as error:
            logger.debug("topology not readable: %s", error)

    def _asking(self, address: Address, run: Callable[[Ask], Any]) -> Any:
        with self._node(address).one_connection() as ask:

            def asking(request: bytes, more: int = 0) -> Any:
                # It holds for the next command on the same connection only.
                ask(command("ASKING"))
                return ask(request, more)

            return run(asking)

    def call(self, key: str, *parts: Part, deadline: float | None = None) -> Any:
        """Run one command that may be repeated, waiting out failovers, migrations and a full memory.

        Args:
            key: The key whose slot's primary is asked.
            *parts: The command and its arguments.
            deadline: Seconds; None takes the option `retry_deadline`.

        Raises:
            ClusterUnavailableError: Still not served at the deadline.
        """
        return self._persist(lambda _: self.once(key, *parts), key, deadline, until_room=True)

    def push(self, key: str, request: bytes, more: int, replicas: int = 0) -> Any:
        """Run a packed command that may be repeated, and `more` behind it whose outcome does not matter; as `call`.

        Args:
            key: The key whose slot's primary is asked.
            request: All the commands.
            more: How many follow the first.
            replicas: How many replicas must confirm what they wrote.

        Raises:
            ClusterUnavailableError: Still not served, or not confirmed, at the deadline.
            redis.exceptions.OutOfMemoryError: The memory is full, still so at the deadline.
        """

        def run(ask: Ask) -> Any:
            return _confirmed(ask, ask(request, more), replicas)

        return self._persist(lambda _: self._attempt(key, run, one_connection=replicas > 0), key, None, until_room=True)

    def script(
        self,
        script: Script,
        keys: Sequence[str],
        args: Callable[[int], Sequence[Any]],
        deadline: float | None = None,
        replicas: int = 0,
        *,
        until_room: bool = True,
    ) -> Any:
        """Run one script, waiting out failovers and migrations.

        Args:
            script: What to run.
            keys: Its keys, all in one slot.
            args: Its arguments for the given attempt, counted from 0.
            deadline: Seconds; None takes the option `retry_deadline`.
            replicas: How many replicas must confirm what it wrote.
            until_room: Whether to wait out a full memory too.

        Raises:
            ClusterUnavailableError: Still not served, or not confirmed, at the deadline.
            redis.exceptions.OutOfMemoryError: The memory is full, still so at the deadline.
        """
        return self._persist(
            lambda n: self.script_once(script, keys, args(n), replicas), keys[0], deadline, until_room=until_room
        )

    def gather(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run commands of one key each (their second word), those of one primary in one round trip.

        Raises:
            ClusterUnavailableError: One of them was still not served at the deadline.
        """
        by_primary: dict[Address, list[int]] = {}
        unserved: list[int] = []
        for index, (_, key, *_) in enumerate(commands):
            try:
                by_primary.setdefault(self.primary(key), []).append(index)
            except ClusterUnavailableError:
                unserved.append(index)
        replies: list[Any] = [None] * len(commands)
        for index in unserved:
            replies[index] = self.call(commands[index][1], *commands[index])
        for address, indices in by_primary.items():
            started = time.monotonic()
            try:
                answers = self._node(address).ask_all([command(*commands[index]) for index in indices])
            except BROKEN as error:
                self.failed(address, error, started)
                answers = [error] * len(indices)
            for index, answer in zip(indices, answers, strict=True):
                # One that was redirected or lost is asked again by itself.
                failed = isinstance(answer, Exception)
                replies[index] = self.call(commands[index][1], *commands[index]) if failed else answer
        return replies

    def _persist(self, attempt: Callable[[int], Any], key: str, deadline: float | None, *, until_room: bool) -> Any:
        limit = self.options.retry_deadline if deadline is None else deadline
        ends = time.monotonic() + limit
        number = 0
        while True:
            try:
                return attempt(number)
            except Exception as error:
                full = isinstance(error, exceptions.OutOfMemoryError)
                if not (is_retryable(error) or (full and until_room)):
                    raise
                pause = backoff(number)
                number += 1
                if time.monotonic() + pause >= ends:
                    if full:
                        raise
                    raise ClusterUnavailableError(
                        f"{key!r} was not served within {limit:g} s ({number} attempts): {error}"
                    ) from error
                logger.debug("attempt %d on %r failed, next in %.2f s: %s", number, key, pause, error)
                time.sleep(pause)


def _confirmed(ask: Ask, reply: Any, replicas: int) -> Any:
    """The reply, once so many replicas have what was written on this connection."""
    if replicas and (confirmed := ask(command("WAIT", replicas, WAIT_MS))) < replicas:
        raise NotReplicatedError(f"{confirmed} of {replicas} replicas confirmed")
    return reply


def backoff(attempt: int) -> float:
    """Seconds to wait after the given failed attempt, counted from 0: exponential with jitter."""
    pause = min(BACKOFF_FIRST * 2.0 ** min(attempt, 16), BACKOFF_LAST)
    return pause * random.uniform(0.7, 1.3)


def _fields(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines())
    return {field: value for field, colon, value in lines if colon}


def _address(node: Sequence[Any], asked: Address) -> Address:
    host = node[0].decode() if isinstance(node[0], bytes) else str(node[0] or "")
    # A node that does not know its own address answers with an empty one: it is the one that was asked.
    return (host if host not in ("", "?") else asked[0], int(node[1]))
