"""From the dead lists into the store: a letter leaves its list only when it is stored.

Several drainers are harmless: a letter that is stored twice is stored once, and one that is gone from its list is not
taken off again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from redis import exceptions

from service.deadletters.letter import Letter, letter_of
from service.deadletters.store import Store, StoreError
from service.deadletters.untold import is_untold
from service.rediscluster.deadlist import DeadLists, DeadMessage
from service.rediscluster.keys import QueueKeys

_LOG = logging.getLogger(__name__)

#: Entries read at once; a message may be large.
BATCH = 10
#: Seconds between two looks at the lists, and at most while nothing works.
PERIOD, LONGEST_PAUSE = 5.0, 60.0


class Drainer:
    """Moves the dead letters of some queues into a store."""

    def __init__(self, lists: DeadLists, store: Store, queues: Sequence[str], tell: Callable[[Letter], None]) -> None:
        """Nothing is read yet.

        Args:
            lists: The dead lists.
            store: Where the letters go.
            queues: Whose.
            tell: Called with each stored letter of which nobody has been told, before it leaves its list.
        """
        self._lists, self._store, self._queues, self._tell = lists, store, queues, tell
        #: Of entries that stay on their list, what was said about them.
        self._said: dict[str, str] = {}

    def run(self, stopping: threading.Event, period: float = PERIOD) -> None:
        """Drain every `period` seconds until told to stop; the more rarely the longer nothing works."""
        pause = period
        while not stopping.is_set():
            complete = True
            for queue in self._queues:
                complete &= self._try(queue)
            pause = period if complete else min(pause * 2, LONGEST_PAUSE)
            stopping.wait(pause)

    def _try(self, queue: str) -> bool:
        try:
            stored = self.drain(queue)
        except StoreError:
            # Said about each of them.
            return False
        except Exception as error:  # noqa: BLE001  whatever it is, the thread goes on for the other queues
            unknown = not isinstance(error, exceptions.RedisError | OSError)
            _LOG.error("queue %s: its dead letters stay on the dead list: %s", queue, _reason(error), exc_info=unknown)
            return False
        if stored:
            _LOG.warning("queue %s: %d dead letters were stored", queue, stored)
        return True

    def drain_all(self) -> int:
        """Drain every queue, as `drain`; what fails of one holds up no other."""
        return _total([partial(self.drain, queue) for queue in self._queues])

    def drain(self, queue: str) -> int:
        """Move what is on the dead list of a queue now; returns how many letters were.

        Raises:
            StoreError: Some could not be stored, or nobody told of them, for whatever reason, which is logged once for
                each; they stay on the list, and those that could be are moved.
            ClusterUnavailableError: A shard did not answer.
        """
        return _total([partial(self._drain, place) for place in self._lists.places(queue)])

    def _drain(self, place: QueueKeys) -> int:
        stored, refused, untold = 0, 0, 0
        why = unheard = ""
        while entries := self._lists.read(place, refused + untold, BATCH):
            for entry in entries:
                try:
                    letter = letter_of(entry)
                    self._store.put(letter)
                except Exception as error:  # noqa: BLE001  whatever it is, one must not hold up the others
                    why = self._stays(entry, _reason(error))
                    refused += 1
                    continue
                if is_untold(letter):
                    # Once it has failed, it is left for the next time: letters must not wait for it.
                    unheard = unheard or self._tell_of(entry, letter)
                    if unheard:
                        untold += 1
                        continue
                self._said.pop(entry.message_id, None)
                self._lists.remove(entry)
                stored += 1
            if refused >= BATCH:
                # The store is away.
                break
        if refused or untold:
            stay = f"{refused + untold} of its letters stay on the dead list"
            raise StoreError(f"{place.queue}: {stay}: {why or unheard}")
        return stored

    def _tell_of(self, entry: DeadMessage, letter: Letter) -> str:
        """Have whoever waits for a letter's task told; returns why that cannot be."""
        try:
            self._tell(letter)
        except Exception as error:  # noqa: BLE001  whatever it is, the letter is stored
            return self._stays(entry, f"it is stored, but who waits for it cannot be told: {_reason(error)}")
        return ""

    def _stays(self, entry: DeadMessage, why: str) -> str:
        if self._said.get(entry.message_id) != why:
            self._said[entry.message_id] = why
            _LOG.error("queue %s: letter %s stays on the dead list: %s", entry.place.queue, entry.message_id, why)
        return why


def _total(drains: Sequence[Callable[[], int]]) -> int:
    """Do them all, and only then raise what the last one that failed raised."""
    total = 0
    failure: Exception | None = None
    for drain in drains:
        try:
            total += drain()
        except (StoreError, exceptions.RedisError) as error:
            failure = error
    if failure is not None:
        raise failure
    return total


def _reason(error: Exception) -> str:
    # What these two say is a sentence; of others the type is half of it.
    if isinstance(error, StoreError | exceptions.RedisError):
        return str(error)
    return f"{type(error).__name__}: {error}"
