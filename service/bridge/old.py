"""The old broker: looking without disturbing, and taking messages so that none is ever in no place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import chain, islice
from typing import Any, TypeVar
from uuid import uuid4

import redis
from redis import exceptions

from . import stock
from .messages import Label, Taken, UnreadableError, parse_entry, read_held, read_message
from .stock import Binding, Layout
from .survey import Held, Inventory

T = TypeVar("T")

#: How many keys or messages are looked at in one round trip.
CHUNK = 500
#: Bytes after which a batch takes no further message: one request must not block a server for long.
BATCH_BYTES = 1_000_000


class SupersededError(Exception):
    """Another bridge has begun to move the same broker: this one must end."""


class OldBroker:
    """A stock broker on one Redis. Whatever it raises of `redis.exceptions.RedisError` may be tried again later."""

    def __init__(self, client: redis.Redis, layout: Layout) -> None:
        """Nothing connects before the first request."""
        self.client = client
        self.layout = layout
        self._epoch = b""
        self._scripts = {
            name: client.register_script(_source(name)) for name in ("claim", "take", "take_held", "settle")
        }
        self._owner, self._taken, self._unreadable = (
            layout.key(name) for name in (stock.OWNER, stock.TAKEN, stock.UNREADABLE)
        )

    # -- looking ----------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The server's Unix time in seconds."""
        told: Any = self.client.time()
        return float(told[0] + told[1] / 1e6)

    def inventory(self) -> Inventory:
        """Everything that may be a message."""
        lists = self._lists()
        bindings = self._bindings()
        return Inventory(
            lists=lists,
            like_messages=self._like_messages(lists),
            bindings=bindings,
            held=tuple(self.held(bindings)),
            taken=int(self.client.execute_command("HLEN", self._taken)),
            unreadable=int(self.client.execute_command("LLEN", self._unreadable)),
        )

    def _names(self, pattern: str, kind: str) -> list[str]:
        pattern = _escape(self.layout.prefix) + pattern
        try:
            found = set(self.client.scan_iter(pattern, CHUNK, _type=kind))
        except exceptions.ResponseError:
            # Older than Redis 6: each key is asked for its type.
            found = set()
            for keys in _chunks(self.client.scan_iter(pattern, CHUNK)):
                with self.client.pipeline(transaction=False) as pipe:
                    for key in keys:
                        pipe.type(key)
                    found |= {key for key, of in zip(keys, pipe.execute(), strict=True) if of == kind.encode()}
        return sorted(key.decode("utf-8", "surrogateescape")[len(self.layout.prefix) :] for key in found)

    def _lists(self) -> dict[str, int]:
        names = [name for name in self._names("*", "list") if name != stock.UNREADABLE]
        lengths = self._ask("llen", names)
        return {name: int(length) for name, length in zip(names, lengths, strict=True) if length}

    def _like_messages(self, names: Iterable[str]) -> frozenset[str]:
        names = list(names)
        oldest = self._ask("lindex", names, -1)
        return frozenset(name for name, raw in zip(names, oldest, strict=True) if raw and _readable(raw))

    def _bindings(self) -> dict[str, tuple[Binding, ...]]:
        names = self._names(_escape(stock.BINDINGS) + "*", "set")
        tables = self._ask("smembers", names)
        return {
            name.removeprefix(stock.BINDINGS): tuple(self._split_bindings(table))
            for name, table in zip(names, tables, strict=True)
        }

    def _split_bindings(self, table: Iterable[bytes]) -> Iterator[Binding]:
        for member in table:
            parts = member.decode("utf-8", "surrogateescape").split(self.layout.separator)
            if len(parts) == 3:
                yield parts[0], parts[1], parts[2]

    def _ask(self, command: str, names: Sequence[str], *args: Any) -> list[Any]:
        """One command for every key, its replies in order."""
        replies: list[Any] = []
        for some in _chunks(names):
            with self.client.pipeline(transaction=False) as pipe:
                for name in some:
                    getattr(pipe, command)(self._key(name), *args)
                replies += pipe.execute()
        return replies

    def _key(self, name: str) -> bytes:
        return self.layout.key(name).encode("utf-8", "surrogateescape")

    def held(self, bindings: Mapping[str, tuple[Binding, ...]], until: float | None = None) -> Iterator[Held]:
        """What workers hold, the oldest first.

        Args:
            bindings: The table of each exchange.
            until: Only what was fetched at or before this Unix time in seconds; None: all, also what has no time.
        """
        unacked, index = self.layout.key(self.layout.unacked), self.layout.key(self.layout.unacked_index)
        timed: Any = self.client.zrangebyscore(index, "-inf", "+inf" if until is None else until, withscores=True)
        since: dict[bytes, float | None] = dict(timed)
        if until is None:
            tags: Any = self.client.hkeys(unacked)
            since |= {tag: None for tag in tags if tag not in since}
        for some in _chunks(since):
            values: Any = self.client.hmget(unacked, some)
            for tag, value in zip(some, values, strict=True):
                # Without a value it was acknowledged; kombu leaves such times behind.
                if value is not None:
                    yield _held(tag.decode(), since[tag], value, bindings)

    def consumers(self) -> list[str] | None:
        """Clients of this database that wait for messages or commands as workers do; None: not permitted to look."""
        try:
            clients: Any = self.client.client_list()
        except exceptions.ResponseError:
            return None
        database = str(self.client.connection_pool.connection_kwargs.get("db") or 0)
        return [
            f"{client['addr']} ({client.get('name') or 'unnamed'}, {client['cmd']})"
            for client in clients
            if client["db"] == database and (client["cmd"] == "brpop" or client.get("psub", "0") != "0")
        ]

    # -- taking -----------------------------------------------------------------------------------------------------

    def claim(self) -> tuple[str, int]:
        """Become the one bridge of this broker; returns a lasting name for the broker and this bridge's epoch."""
        now_ms = int(self.now() * 1000)
        name, self._epoch = self._scripts["claim"](keys=[self._owner], args=[now_ms, uuid4().hex])
        return name.decode(), int(self._epoch)

    def unfinished(self) -> list[Taken]:
        """What an earlier bridge took and did not settle.

        Raises:
            SupersededError: Another bridge has come.
        """
        return self._run("take", [], ["", 0, 0])

    def take(self, queue: str, to: str, limit: int) -> list[Taken]:
        """Take messages from a queue's lists; if some are not settled yet, those and nothing new.

        Args:
            queue: The old queue.
            to: The fleet's queue, noted with each.
            limit: How many at most.

        Raises:
            SupersededError: Another bridge has come.
            redis.exceptions.OutOfMemoryError: The old Redis is full; nothing was taken.
        """
        steps = self.layout.steps
        lists = [self._key(self.layout.list_name(queue, step)) for step in steps]
        labels = [Label(queue, to, step).dump() for step in steps]
        return self._run("take", lists, [_new_prefix(), limit, BATCH_BYTES, *labels])

    def take_held(self, labels: Mapping[str, Label], until: float, *, timeless: bool) -> list[Taken]:
        """Take messages that workers hold, otherwise as `take`.

        Args:
            labels: Where each goes, by delivery tag.
            until: Only if it was fetched at or before this Unix time in seconds.
            timeless: Also those that the index lacks.

        Raises:
            SupersededError: Another bridge has come.
            redis.exceptions.OutOfMemoryError: The old Redis is full; nothing was taken.
        """
        keys = [self._key(self.layout.unacked), self._key(self.layout.unacked_index)]
        pairs = chain.from_iterable((tag, label.dump()) for tag, label in labels.items())
        return self._run("take_held", keys, [_new_prefix(), repr(until), int(timeless), *pairs])

    def settle(self, stored: Sequence[str], unreadable: Sequence[str]) -> None:
        """Forget what the fleet has stored, and put aside what nobody can read.

        Raises:
            SupersededError: Another bridge has come.
        """
        self._call("settle", [self._owner, self._taken, self._unreadable], [len(stored), *stored, *unreadable])

    def _run(self, name: str, keys: Sequence[bytes], args: Sequence[Any]) -> list[Taken]:
        flat = self._call(name, [self._owner, self._taken, *keys], args)
        # A hash has no order; the identities have.
        return sorted((parse_entry(flat[i].decode(), flat[i + 1]) for i in range(0, len(flat), 2)), key=lambda t: t.id)

    def _call(self, name: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        try:
            return self._scripts[name](keys=keys, args=[self._epoch, *args])
        except exceptions.ResponseError as error:
            if str(error).startswith("SUPERSEDED"):
                raise SupersededError from error
            raise


def _source(name: str) -> str:
    return files(__package__).joinpath(f"lua/{name}.lua").read_text("utf-8")


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, CHUNK)):
        yield some


def _new_prefix() -> str:
    return f"{uuid4().hex}-"


def _escape(text: str) -> str:
    """Text that SCAN takes literally."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in text)


def _readable(raw: bytes) -> bool:
    try:
        read_message(raw)
    except UnreadableError:
        return False
    return True


def _held(tag: str, since: float | None, value: bytes, tables: Mapping[str, tuple[Binding, ...]]) -> Held:
    try:
        _, exchange, routing_key = read_held(value)
    except UnreadableError as error:
        return Held(tag, since, (), f"unreadable ({error})", unreadable=True)
    queues = stock.origin(exchange, routing_key, tables)
    if len(queues) == 1:
        return Held(tag, since, tuple(queues))
    where = f"exchange {exchange!r} with routing key {json.dumps(routing_key)}"
    if not queues:
        return Held(tag, since, (), f"no queue is bound to {where}")
    return Held(tag, since, tuple(queues), f"it may be from {' or '.join(queues)}, all bound to {where}")
