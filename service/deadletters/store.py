"""Where letters are kept: one small interface, and the choice of what stands behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from service import fleet
from service.deadletters.letter import Handling, Letter, Selection, State, Summary
from service.settings import Settings

DAY_MS = 24 * 60 * 60 * 1000


class StoreError(Exception):
    """The store did not do what was asked, for now or for good; nothing is known to have been done."""


class NoLetterError(LookupError):
    """There is no letter with this id; it may have expired."""


class Store(Protocol):
    """Keeps letters for some days. All methods raise `StoreError`."""

    def put(self, letter: Letter) -> bool:
        """Keep a letter; returns False when it was there, with whatever has become of it since."""

    def get(self, letter_id: str) -> Letter:
        """A letter with its content.

        Raises:
            NoLetterError: It is not there.
        """

    def find(self, wanted: Selection) -> Iterator[Summary]:
        """The letters of a selection, the oldest first within a queue."""

    def move(self, letter_id: str, expected: Collection[State], handling: Handling) -> bool:
        """Note in one step what is done with a letter, if its state is among those expected; returns whether it was."""

    def count(self, queue: str) -> int:
        """How many letters of a queue wait for somebody; from a very long list, at least so many."""


def open_store(settings: Settings) -> Store | None:
    """The store of these settings; None if they name none: then letters stay on the dead lists."""
    if settings.letters_table and settings.letters_bucket:
        # Only where it is used: boto3 takes a while to import.
        from service.deadletters.dynamodb import DynamoStore

        # Those that are switched off may have left letters, too.
        queues = dict.fromkeys((*settings.queue_names, *fleet.QUEUE_NAMES))
        return DynamoStore(
            settings.letters_table,
            settings.letters_bucket,
            settings.letters_days,
            region=settings.aws_region,
            queues=queues,
        )
    if settings.letters_file:
        from service.deadletters.sqlite import SqliteStore

        return SqliteStore(settings.letters_file, settings.letters_days)
    return None
