"""Letters in a SQLite file: for one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from service.deadletters.letter import UNHANDLED, Handling, Letter, Selection, State, Summary
from service.deadletters.store import DAY_MS, NoLetterError, StoreError

_SUMMARY = tuple(field.name for field in fields(Summary))
_LETTER = tuple(field.name for field in fields(Letter))
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS letters ({", ".join(_LETTER)}, expires, PRIMARY KEY (id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS letters_by_death ON letters (queue, died);
"""
#: Seconds to wait for another process that writes.
PATIENCE = 10.0


class SqliteStore:
    """A file that several processes may use. See `store.Store`."""

    def __init__(self, file: Path, days: int, now: Callable[[], float] = time.time) -> None:
        """The file is made at first use; letters are kept for `days` days."""
        self._file, self._keep_ms, self._now = file, days * DAY_MS, now

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            # With closing: sqlite3's own context manager only commits.
            with closing(sqlite3.connect(self._file, timeout=PATIENCE)) as connection, connection:
                connection.executescript(_SCHEMA)
                yield connection
        except sqlite3.Error as error:
            raise StoreError(f"{self._file}: {error}") from error

    def put(self, letter: Letter) -> bool:
        """See `store.Store`."""
        values = asdict(letter)
        now = int(self._now() * 1000)
        with self._open() as connection:
            connection.execute("DELETE FROM letters WHERE expires < ?", (now,))
            done = connection.execute(
                f"INSERT OR IGNORE INTO letters ({', '.join(_LETTER)}, expires) VALUES ({_marks(_LETTER)}, ?)",  # noqa: S608
                [*(values[name] for name in _LETTER), now + self._keep_ms],
            )
            return done.rowcount == 1

    def get(self, letter_id: str) -> Letter:
        """See `store.Store`."""
        with self._open() as connection:
            row = connection.execute(
                f"SELECT {', '.join(_LETTER)} FROM letters WHERE id = ?",  # noqa: S608
                (letter_id,),
            ).fetchone()
        if row is None:
            raise NoLetterError(letter_id)
        return Letter(**dict(zip(_LETTER, row, strict=True)))

    def find(self, wanted: Selection) -> Iterator[Summary]:
        """See `store.Store`."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(_SUMMARY)} FROM letters"  # noqa: S608
                f" WHERE state IN ({_marks(wanted.states)}) ORDER BY queue, died",
                wanted.states,
            ).fetchall()
        found = (Summary(**dict(zip(_SUMMARY, row, strict=True))) for row in rows)
        return (letter for letter in found if wanted.fits(letter))

    def move(self, letter_id: str, expected: Collection[State], handling: Handling) -> bool:
        """See `store.Store`."""
        with self._open() as connection:
            done = connection.execute(
                "UPDATE letters SET state = ?, handled_at = ?, handled_by = ?, target = ? WHERE id = ?"  # noqa: S608
                f" AND state IN ({_marks(expected)})",
                (handling.state, handling.at, handling.by, handling.target, letter_id, *expected),
            )
            return done.rowcount == 1

    def count(self, queue: str) -> int:
        """See `store.Store`."""
        with self._open() as connection:
            (number,) = connection.execute(
                f"SELECT count(*) FROM letters WHERE queue = ? AND state IN ({_marks(UNHANDLED)})",  # noqa: S608
                (queue, *UNHANDLED),
            ).fetchone()
        return int(number)


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))
