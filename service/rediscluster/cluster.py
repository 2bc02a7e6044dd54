"""The only module that knows the cluster's topology: which node serves a key, and what to do when that changes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.retry import Retry

from .connection import NodeConnection
from .errors import ClusterUnavailableError, ConfigurationError, NotReplicatedError, is_retryable
from .options import Options
from .scripts import Script

logger = logging.getLogger(__name__)

#: Hash slots of a cluster.
SLOTS = 16384
Address = tuple[str, int]
#: Runs one command on a certain node.
Execute = Callable[..., Any]
#: First and last slot of a range and its primary.
SlotRange = tuple[int, int, Address]

#: Milliseconds to wait for the confirmation of replicas.
WAIT_MS = 1000
#: Seconds between attempts: doubled each time, with jitter.
BACKOFF_FIRST = 0.05
BACKOFF_LAST = 0.5


#: Nodes that this process, or the one it was forked from, has seen, by the seeds they were found from: one that
#: starts while its only seed is frozen finds the others here.
_seen: dict[tuple[Address, ...], tuple[Address, ...]] = {}


class Cluster:
    """Runs commands and scripts on the primary of a key's slot.

    Connections are made on demand and kept per primary. All methods may be called from any thread.
    """

    def __init__(self, options: Options) -> None:
        """Remember the options; nothing connects before the first request."""
        self.options = options
        #: Called after a change of topology, from the thread that noticed it.
        self.on_change: Callable[[], None] | None = None
        self._ranges: tuple[SlotRange, ...] = ()
        self._nodes: dict[Address, redis.Redis] = {}
        self._refreshed_at = 0.0
        self._lock = threading.RLock()

    # -- topology ---------------------------------------------------------------------------------------------------

    def primary(self, key: str) -> Address:
        """The address of the primary that serves `key`, as far as known.

        Raises:
            ClusterUnavailableError: No node told the topology, or nobody serves the slot.
        """
        if not self._ranges:
            self.refresh()
        slot = key_slot(key.encode())
        for first, last, address in self._ranges:
            if first <= slot <= last:
                return address
        self._refreshed_at = 0.0
        self.refresh()
        for first, last, address in self._ranges:
            if first <= slot <= last:
                return address
        raise ClusterUnavailableError(f"no primary serves slot {slot} of {key!r}")

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
            candidates.sort(key=lambda address: address == avoid)
            failures: list[str] = []
            for address in candidates:
                try:
                    slots = self._client(address).execute_command("CLUSTER", "SLOTS")
                except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
                    if self.options.credential_provider is None:
                        raise ConfigurationError(f"{_name(address)} refused the credentials: {error}") from error
                    failures.append(f"{_name(address)} refused the credentials: {error}")
                except exceptions.ResponseError as error:
                    if "cluster support disabled" in str(error):
                        raise ConfigurationError(
                            f"{_name(address)} is not in cluster mode; use redis:// for a single Redis"
                        ) from error
                    failures.append(f"{_name(address)}: {error}")
                except (exceptions.RedisError, OSError) as error:
                    failures.append(f"{_name(address)}: {error}")
                else:
                    if slots:
                        self._adopt(slots, address)
                        return
                    failures.append(f"{_name(address)}: serves no slots")
            raise ClusterUnavailableError("no node of the cluster answered: " + "; ".join(failures))

    def _adopt(self, slots: Sequence[Any], asked: Address) -> None:
        ranges = tuple(sorted((int(s[0]), int(s[1]), _address(s[2], asked)) for s in slots))
        replicas = {_address(node, asked) for s in slots for node in s[3:]}
        self._refreshed_at = time.monotonic()
        if ranges == self._ranges:
            return
        changed = bool(self._ranges)
        primaries = {address for _, _, address in ranges}
        _seen[self.options.seeds] = tuple(primaries | replicas)
        for address in set(self._nodes) - primaries - replicas - set(self.options.seeds):
            # A thread that still waits for a reply there ends by its own time-out.
            self._nodes.pop(address).connection_pool.disconnect(inuse_connections=False)
        self._ranges = ranges
        if changed:
            logger.info("cluster topology changed: primaries are now %s", ", ".join(map(_name, sorted(primaries))))
            if self.on_change is not None:
                self.on_change()

    def _client(self, address: Address) -> redis.Redis:
        client = self._nodes.get(address)
        if client is None:
            with self._lock:
                client = self._nodes.get(address)
                if client is None:
                    client = redis.Redis(connection_pool=self._pool(address))
                    self._nodes[address] = client
        return client

    def _pool(self, address: Address) -> redis.ConnectionPool:
        return redis.ConnectionPool(
            connection_class=SSLConnection if self.options.tls else Connection,
            max_connections=2**31,
            host=address[0],
            port=address[1],
            # Repeating is decided here alone: a blind repeat on the same node would lose messages.
            retry=Retry(NoBackoff(), 0),
            **self.options.connection_arguments(),
        )

    def connect(self, key: str) -> NodeConnection:
        """Open a connection of one's own to the primary of `key`, for a blocking command.

        Raises:
            redis.exceptions.RedisError: It cannot be reached, or the topology cannot be read.
        """
        # Not from the pool: it never forgets a connection it has made, and has room for so many.
        pool = self._client(self.primary(key)).connection_pool
        return NodeConnection(pool.connection_class(**pool.connection_kwargs))

    def covered(self) -> int:
        """How many slots a primary serves, as far as known."""
        return sum(last - first + 1 for first, last, _ in self._ranges)

    def describe(self) -> dict[str, dict[str, Any]]:
        """What each primary says of itself (INFO), by its address.

        Raises:
            redis.exceptions.RedisError: One did not answer.
        """
        primaries = sorted({address for _, _, address in self._ranges})
        return {_name(address): self._client(address).info() for address in primaries}

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._nodes.values():
                client.connection_pool.disconnect()
            self._nodes.clear()
            self._ranges = ()

    # -- requests ---------------------------------------------------------------------------------------------------

    def once(self, key: str, *command: Any) -> Any:
        """Run one command on the primary of `key`, following redirections but not waiting for anything.

        Raises:
            redis.exceptions.RedisError: As the server or the connection says; the topology has then been marked stale.
        """
        return self._attempt(key, lambda execute: execute(*command))

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

        def run(execute: Execute) -> Any:
            try:
                reply = execute("EVALSHA", script.sha, len(keys), *keys, *args)
            except exceptions.NoScriptError:
                reply = execute("EVAL", script.source, len(keys), *keys, *args)
            if replicas and (confirmed := execute("WAIT", replicas, WAIT_MS)) < replicas:
                raise NotReplicatedError(f"{confirmed} of {replicas} replicas confirmed")
            return reply

        return self._attempt(keys[0], run, one_connection=replicas > 0)

    @contextmanager
    def _executor(self, address: Address, *, one_connection: bool) -> Iterator[Execute]:
        client = self._client(address)
        if not one_connection:
            yield client.execute_command
        else:
            # WAIT is about what its own connection wrote.
            with redis.Redis(connection_pool=client.connection_pool, single_connection_client=True) as single:
                yield single.execute_command

    def _attempt(self, key: str, run: Callable[[Execute], Any], *, one_connection: bool = False) -> Any:
        address = self.primary(key)
        try:
            with self._executor(address, one_connection=one_connection) as execute:
                return run(execute)
        except exceptions.MovedError as error:
            self._refreshed_at = 0.0
            self.refresh(avoid=address)
            moved = (error.host or address[0], int(error.port))
            with self._executor(moved, one_connection=one_connection) as execute:
                return run(execute)
        except exceptions.AskError as error:
            return self._asking((error.host or address[0], int(error.port)), run)
        except exceptions.AuthenticationError as error:
            if self.options.credential_provider is None:
                raise
            # They are being rotated: the provider's next answer may fit.
            raise ClusterUnavailableError(f"{_name(address)} refused the credentials: {error}") from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            if is_retryable(error):
                # Idle connections of the pool are as dead as this one.
                self._client(address).connection_pool.disconnect(inuse_connections=False)
                self._mark_stale(address)
            raise
        except exceptions.ResponseError as error:
            if is_retryable(error):
                self._mark_stale(address)
            raise

    def _mark_stale(self, failed: Address) -> None:
        try:
            self.refresh(avoid=failed, at_most_every=BACKOFF_FIRST)
        except (exceptions.RedisError, OSError, ConfigurationError) as error:
            logger.debug("topology not readable: %s", error)

    def _asking(self, address: Address, run: Callable[[Execute], Any]) -> Any:
        with self._executor(address, one_connection=True) as execute:

            def ask(*command: Any) -> Any:
                # It holds for the next command on the same connection only.
                execute("ASKING")
                return execute(*command)

            return run(ask)

    def call(self, key: str, *command: Any, deadline: float | None = None) -> Any:
        """Run one command that may be repeated, waiting out failovers and migrations.

        Args:
            key: The key whose slot's primary is asked.
            *command: The command and its arguments.
            deadline: Seconds; None takes the option `retry_deadline`.

        Raises:
            ClusterUnavailableError: Still not served at the deadline.
        """
        return self._persist(lambda _: self.once(key, *command), key, deadline)

    def script(
        self,
        script: Script,
        keys: Sequence[str],
        args: Callable[[int], Sequence[Any]],
        deadline: float | None = None,
        replicas: int = 0,
    ) -> Any:
        """Run one script, waiting out failovers and migrations.

        Args:
            script: What to run.
            keys: Its keys, all in one slot.
            args: Its arguments for the given attempt, counted from 0.
            deadline: Seconds; None takes the option `retry_deadline`.
            replicas: How many replicas must confirm what it wrote.

        Raises:
            ClusterUnavailableError: Still not served, or not confirmed, at the deadline.
        """
        return self._persist(lambda n: self.script_once(script, keys, args(n), replicas), keys[0], deadline)

    def gather(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run commands of one key each (their second word), those of one primary in one round trip.

        Raises:
            ClusterUnavailableError: One of them was still not served at the deadline.
        """
        by_primary: dict[Address, list[int]] = {}
        unserved: list[int] = []
        for index, command in enumerate(commands):
            try:
                by_primary.setdefault(self.primary(command[1]), []).append(index)
            except ClusterUnavailableError:
                unserved.append(index)
        replies: list[Any] = [None] * len(commands)
        for index in unserved:
            replies[index] = self.call(commands[index][1], *commands[index])
        for address, indices in by_primary.items():
            pipeline = self._client(address).pipeline(transaction=False)
            for index in indices:
                pipeline.execute_command(*commands[index])
            try:
                answers = pipeline.execute(raise_on_error=False)
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                answers = [error] * len(indices)
            for index, answer in zip(indices, answers, strict=True):
                # One that was redirected or lost is asked again by itself.
                failed = isinstance(answer, Exception)
                replies[index] = self.call(commands[index][1], *commands[index]) if failed else answer
        return replies

    def _persist(self, attempt: Callable[[int], Any], key: str, deadline: float | None) -> Any:
        limit = self.options.retry_deadline if deadline is None else deadline
        ends = time.monotonic() + limit
        number = 0
        while True:
            try:
                return attempt(number)
            except Exception as error:
                if not is_retryable(error):
                    raise
                pause = backoff(number)
                number += 1
                if time.monotonic() + pause >= ends:
                    raise ClusterUnavailableError(
                        f"{key!r} was not served within {limit:g} s ({number} attempts): {error}"
                    ) from error
                logger.debug("attempt %d on %r failed, next in %.2f s: %s", number, key, pause, error)
                time.sleep(pause)


def backoff(attempt: int) -> float:
    """Seconds to wait after the given failed attempt, counted from 0: exponential with jitter."""
    pause = min(BACKOFF_FIRST * 2.0 ** min(attempt, 16), BACKOFF_LAST)
    return pause * random.uniform(0.7, 1.3)


def _address(node: Sequence[Any], asked: Address) -> Address:
    host = node[0].decode() if isinstance(node[0], bytes) else str(node[0] or "")
    # A node that does not know its own address answers with an empty one: it is the one that was asked.
    return (host if host not in ("", "?") else asked[0], int(node[1]))


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
