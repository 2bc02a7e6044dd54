"""Which of the beats leads: a lease in the cluster, and the server's clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from service import fleet
from service.rediscluster.cluster import Cluster
from service.rediscluster.scripts import Script, script

_LOG = logging.getLogger(__name__)

#: All that the beats share, in one hash: scripts on a single key never wait for a slot that moves.
KEY: Final = f"{fleet.BROKER_PREFIX}{{|beat}}:state"
#: Seconds for which one request may be repeated.
DEADLINE: Final = 2.0


class NotLeadingError(Exception):
    """Somebody else leads by now."""


class Standing(NamedTuple):
    """How the leader is.

    Attributes:
        leader: Who leads, or led last.
        leads: Whether it still does.
        age: Seconds since it last said so.
        leading: Seconds since it began.
        late: Seconds by which its latest tick was late then.
    """

    leader: str
    leads: bool
    age: float
    leading: float
    late: float


class Term(NamedTuple):
    """One time of leading.

    Attributes:
        number: Counts those of this process.
        taken: Queue of each entry that the leaders before have taken over, by its name; None if there was no leader for
            a day, or nobody remembers.
    """

    number: int
    taken: Mapping[str, str] | None


class Leader:
    """This process's part in it. Methods may be called from any thread; `step` from one.

    All but `step` raise `redis.exceptions.RedisError` or `OSError` when the shard does not answer in time.
    """

    def __init__(self, cluster: Cluster, me: str, lease: float) -> None:
        """Connects on first use.

        Args:
            cluster: The broker's.
            me: Names this process among all that ever were.
            lease: Seconds for which one leads.
        """
        self.me = me
        self._cluster = cluster
        self._lease = lease
        self._term: Term | None = None
        self._terms = 0
        self._till = 0.0
        self._offset = 0.0
        self._taken: dict[str, str] = {}
        self._changed = threading.Condition()
        self._stopped = False

    @property
    def term(self) -> Term | None:
        """The term, while this process leads; by our own clock, started before the server's."""
        term = self._term
        return term if term is not None and time.monotonic() < self._till else None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def now(self) -> int:
        """The server's Unix time in milliseconds, as of the last step."""
        return int(time.monotonic() * 1000 + self._offset)

    def wait(self, seconds: float) -> None:
        """Wait, not beyond a change of who leads."""
        with self._changed:
            if not self._stopped:
                self._changed.wait(seconds)

    def step(self, late: float) -> str:
        """Lead, go on leading, or find out who does; returns who.

        Args:
            late: Seconds by which our latest tick is late.

        Raises:
            redis.exceptions.RedisError: The shard did not answer in time; what we had may last a while.
            OSError: The same.
        """
        leading = self.term
        sent = time.monotonic()
        arguments = (self.me, int(self._lease * 1000), int(late * 1000), int(leading is None))
        leads, now, leader, before, entries = self._run("lease", arguments)
        answered = time.monotonic()
        # In the middle of the round trip, and no attempt takes long.
        self._offset = now - (max(sent, answered - DEADLINE) + answered) * 500
        if leads and leading is None:
            self._terms += 1
            names = [part.decode() for part in entries]
            taken = dict(zip(names[::2], names[1::2], strict=True)) if before else None
            self._begin(Term(self._terms, taken), sent + self._lease)
        elif leads:
            self._till = sent + self._lease
        else:
            self._end()
        return str(leader.decode())

    def take(self, entries: Mapping[str, str]) -> None:
        """Note that we have taken over entries: name to queue.

        Raises:
            NotLeadingError: Somebody else leads.
        """
        self._note("take", [part for pair in entries.items() for part in pair])
        self._taken |= entries

    def take_again(self) -> None:
        """Note again what we have taken over: a failover may have undone it. Raises as `take`."""
        self.take(dict(self._taken))

    def forget(self, names: Iterable[str]) -> None:
        """Note that there are no such entries any more; raises as `take`."""
        self._note("forget", list(names))

    def standing(self) -> Standing | None:
        """How the leader is; None if nobody has led for a day."""
        reply = self._run("standing", ())
        if not reply:
            return None
        name, leads, age, leading, late = reply
        return Standing(name.decode(), bool(leads), age / 1000, leading / 1000, late / 1000)

    def stop(self) -> None:
        """Wake everybody who waits, for good."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Lead no longer, so that somebody else can at once."""
        self._end()
        self._run("leave", (self.me,))

    def _note(self, what: str, words: list[str]) -> None:
        if words and not self._run("note", (self.me, what, *words)):
            self._end()
            raise NotLeadingError

    def _begin(self, term: Term, till: float) -> None:
        _LOG.info("%s leads", self.me)
        with self._changed:
            self._term, self._till, self._taken = term, till, {}
            self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            if self._term is None:
                return
            self._term = None
            self._changed.notify_all()
        _LOG.info("%s leads no longer", self.me)

    def _run(self, name: str, arguments: tuple[Any, ...]) -> Any:
        return self._cluster.script(_script(name), [KEY], lambda _: arguments, DEADLINE)


@cache
def _script(name: str) -> Script:
    return script(f"beat-{name}", files(__package__).joinpath(f"lua/{name}.lua").read_text("utf-8"))
