"""What the demo shows while it runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_PERIOD = 5.0


@dataclass(frozen=True)
class Row:
    """One queue at one moment."""

    queue: str
    workers: str
    sent: int
    done: int
    depth: int
    leased: int
    redelivered: int


@dataclass(frozen=True)
class Snapshot:
    """The fleet at one moment."""

    rows: Sequence[Row]
    sent: int
    done: int
    total: int
    waiting_for: str


class View(Protocol):
    """Where events and snapshots go."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    def event(self, text: str) -> None:
        """Something happened."""

    def update(self, snapshot: Snapshot) -> None:
        """The state is this now."""


class Clock:
    """Seconds since the demo began, as a prefix."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def stamp(self, text: str) -> str:
        """Put the time before a text."""
        return f"{self.seconds:6.1f} s  {text}"


class PlainView:
    """Lines: every event, and the state every few seconds."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._next = 0.0

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clean up."""

    def event(self, text: str) -> None:
        """Print a line."""
        self._console.print(self._clock.stamp(text), highlight=False, markup=False, soft_wrap=True)

    def update(self, snapshot: Snapshot) -> None:
        """Print the state if the last line is old enough."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PLAIN_PERIOD
        queues = ", ".join(
            f"{row.queue} {row.done}/{row.sent} depth {row.depth} workers {row.workers}"
            for row in snapshot.rows
            if row.sent
        )
        redelivered = sum(row.redelivered for row in snapshot.rows)
        waiting = f"; waiting for {snapshot.waiting_for}" if snapshot.waiting_for else ""
        self.event(f"done {snapshot.done}/{snapshot.total} ({queues}), redelivered {redelivered}{waiting}")


class LiveView:
    """A table and bars that stay in place, with events scrolling above."""

    def __init__(self, console: Console, clock: Clock, total: int) -> None:
        self._console = console
        self._clock = clock
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            expand=True,
        )
        self._sent = self._progress.add_task("published", total=total)
        self._done = self._progress.add_task("done", total=total)
        self._live = Live(Group(self._progress), console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Take over the lower part of the terminal."""
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back; the last state stays."""
        self._live.__exit__(kind, error, trace)

    def event(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(self._clock.stamp(text), highlight=False, markup=False)

    def update(self, snapshot: Snapshot) -> None:
        """Draw the state."""
        self._progress.update(self._sent, completed=snapshot.sent)
        self._progress.update(self._done, completed=snapshot.done)
        table = Table(expand=True, caption=f"waiting for {snapshot.waiting_for}" if snapshot.waiting_for else None)
        table.add_column("queue")
        for heading in ("workers", "sent", "done", "depth", "leased", "redelivered"):
            table.add_column(heading, justify="right")
        for row in snapshot.rows:
            values = (row.sent, row.done, row.depth, row.leased, row.redelivered)
            table.add_row(row.queue, row.workers, *(str(value) for value in values))
        self._live.update(Group(table, self._progress))


def view(console: Console, clock: Clock, total: int) -> View:
    """The view that suits the console."""
    return LiveView(console, clock, total) if console.is_terminal else PlainView(console, clock)
