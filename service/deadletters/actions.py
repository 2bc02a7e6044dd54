"""What a person does with a letter: publish it again, or put it aside. Both are noted, and done once."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.deadletters.letter import Handling, Letter, State
from service.deadletters.store import Store
from service.rediscluster.deadlist import DeadLists
from service.rediscluster.message_format import pack, unpack

#: From these a letter can be published again: one that was put aside by mistake, too.
REPLAYABLE: tuple[State, ...] = ("open", "discarded")
REPLAYING: tuple[State, ...] = ("replaying",)
OPEN: tuple[State, ...] = ("open",)


class CannotReplayError(Exception):
    """Nobody can publish this letter again; the text says why."""


def again(letter: Letter, target: str) -> bytes:
    """The letter's message as it is published again: the same task id and body, its counters reset.

    Its ETA and its expiry are dropped: they lie in the past. The body is not read.

    Raises:
        CannotReplayError: It is not a message.
    """
    try:
        message = unpack(letter.payload)
        headers, properties = message["headers"], message["properties"]
        headers |= {"retries": 0, "eta": None, "expires": None}
        headers.pop("redelivered", None)
        if target != letter.queue:
            # Where a retry of the task goes.
            properties["delivery_info"] = properties.get("delivery_info", {}) | {"exchange": "", "routing_key": target}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotReplayError("nobody can read its message") from error
    return pack(message)


class Desk:
    """Handles letters in somebody's name."""

    def __init__(
        self, store: Store, lists: DeadLists, by: str, days: int, now: Callable[[], float] = time.time
    ) -> None:
        """`by` is noted with everything that is done; `days` is how long the store keeps letters."""
        self._store, self._lists, self._by, self._days, self._now = store, lists, by, days, now

    def replay(self, letter_id: str, target: str | None = None) -> tuple[bool, Letter]:
        """Publish a letter's message again, once however often and by however many this is called.

        A call that breaks off is completed by the next one, to the queue that the first had named.

        Args:
            letter_id: Which.
            target: Another queue than the one where it died.

        Returns:
            Whether this call published it, and the letter with what is noted about it now.

        Raises:
            NoLetterError: There is no such letter.
            CannotReplayError: Its message cannot be published.
            StoreError: The store failed; calling again is safe.
            ClusterUnavailableError: The cluster did not answer; calling again is safe.
        """
        letter = self._store.get(letter_id)
        if letter.state in REPLAYABLE:
            again(letter, target or letter.queue)
            self._store.move(letter_id, REPLAYABLE, self._note("replaying", target or letter.queue))
            # Somebody else may have been faster.
            letter = self._store.get(letter_id)
        if letter.state != "replaying":
            return False, letter
        published = self._lists.publish_once(
            letter.target,
            again(letter, letter.target),
            identity=letter.id,
            task_id=letter.task_id,
            priority=letter.priority,
            remember=self._days * 86_400.0,
        )
        self._store.move(letter_id, REPLAYING, self._note("replayed", letter.target))
        return published, self._store.get(letter_id)

    def discard(self, letter_id: str) -> tuple[bool, Letter]:
        """Put a letter aside; it is kept until it expires. Returns and raises as `replay`."""
        done = self._store.move(letter_id, OPEN, self._note("discarded"))
        return done, self._store.get(letter_id)

    def _note(self, state: State, target: str = "") -> Handling:
        return Handling(state, int(self._now() * 1000), self._by, target)
