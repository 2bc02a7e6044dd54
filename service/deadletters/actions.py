"""What a person does with a letter: publish it again, or put it aside. Both are noted, and done once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

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
        self,
        store: Store,
        lists: DeadLists,
        queues: Collection[str],
        by: str,
        days: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is done yet.

        Args:
            store: Where the letters are.
            lists: The cluster that they died in.
            queues: The stack's queues: nobody serves another one.
            by: Is noted with everything that is done.
            days: How long the store keeps letters.
            now: Unix time in seconds.
        """
        self._store, self._lists, self._queues = store, lists, queues
        self._by, self._days, self._now = by, days, now

    def replay(self, letter_id: str, target: str | None = None) -> tuple[bool, Letter]:
        """Publish a letter's message again, once however often and by however many this is called.

        A call that breaks off is completed by the next one, to the queue that the first had named if that is still
        there.

        Args:
            letter_id: Which.
            target: Another queue than the one where it died.

        Returns:
            Whether this call published it, and the letter with what is noted about it now.

        Raises:
            NoLetterError: There is no such letter.
            CannotReplayError: Its message cannot be published, or nobody serves the queue.
            StoreError: The store failed; calling again is safe.
            ClusterUnavailableError: The cluster did not answer; calling again is safe.
        """
        letter = self._store.get(letter_id)
        if letter.state in (*REPLAYABLE, *REPLAYING):
            where = self._where(letter, target)
            if letter.state in REPLAYABLE or where != letter.target:
                self._store.move(letter_id, (letter.state,), self._note("replaying", where))
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

    def rehearse_replay(self, letter_id: str, target: str | None = None) -> tuple[bool, Letter]:
        """What `replay` would do now, and nothing is changed.

        Returns:
            Whether it would publish the letter, and the letter: with the queue in `target` unless it was handled.

        Raises:
            As `replay`.
        """
        letter = self._store.get(letter_id)
        if letter.state not in (*REPLAYABLE, *REPLAYING):
            return False, letter
        letter = replace(letter, target=self._where(letter, target))
        return not self._was_published(letter), letter

    def _where(self, letter: Letter, target: str | None) -> str:
        """The queue that a letter is published to; raises CannotReplayError."""
        begun = letter.state in REPLAYING
        if begun and (letter.target in self._queues or self._was_published(letter)):
            where = letter.target
        elif (where := target or letter.target or letter.queue) not in self._queues:
            raise CannotReplayError(
                f"nobody serves the queue {where}; name another one with --to: {', '.join(self._queues)}"
            )
        again(letter, where)
        return where

    def _was_published(self, letter: Letter) -> bool:
        return self._lists.was_published(letter.target, identity=letter.id, task_id=letter.task_id)

    def discard(self, letter_id: str) -> tuple[bool, Letter]:
        """Put a letter aside; it is kept until it expires. Returns and raises as `replay`."""
        done = self._store.move(letter_id, OPEN, self._note("discarded"))
        return done, self._store.get(letter_id)

    def rehearse_discard(self, letter_id: str) -> tuple[bool, Letter]:
        """What `discard` would do now, and nothing is changed; returns and raises as that."""
        letter = self._store.get(letter_id)
        return letter.state in OPEN, letter

    def _note(self, state: State, target: str = "") -> Handling:
        return Handling(state, int(self._now() * 1000), self._by, target)
