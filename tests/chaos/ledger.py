"""The ledger of a run: a file outside the cluster in which the tasks note what they do, and when."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

#: In lines that tell of no return value.
NO_TOKEN = "-"


class Line(NamedTuple):
    """A line of the ledger; the time is CLOCK_MONOTONIC, which all processes of a machine share."""

    event: str
    number: int
    worker: int
    process: int
    at: float
    #: What a task with `once` returned, as its callback was told.
    token: str = NO_TOKEN


def write(path: Path, line: Line) -> None:
    """Add a line."""
    # A write to a file opened for appending is one step, also between processes.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{' '.join(map(str, line))}\n".encode())
    finally:
        os.close(descriptor)


@dataclass
class Run:
    """One execution of a task; `done` is None when it did not get to its end."""

    number: int
    worker: int
    process: int
    began: float
    done: float | None = None

    @property
    def last(self) -> float:
        """When it last gave a sign of life."""
        return self.began if self.done is None else self.done


class Stall(NamedTuple):
    """A time in which a worker's main process stood still by itself."""

    worker: int
    began: float
    ended: float


@dataclass
class Record:
    """What the ledger says so far, for the judge."""

    ready: set[int] = field(default_factory=set)
    runs: dict[int, list[Run]] = field(default_factory=dict)
    #: When each number was first done.
    done: dict[int, float] = field(default_factory=dict)
    #: What the tasks with `once` are known to have returned.
    tokens: dict[int, set[str]] = field(default_factory=dict)
    stalls: list[Stall] = field(default_factory=list)

    def add(self, lines: Iterable[Line]) -> None:
        """Take lines in, in the order of the file."""
        for line in lines:
            match line.event:
                case "ready":
                    self.ready.add(line.worker)
                case "stalled":
                    # Its number is for how many milliseconds.
                    self.stalls.append(Stall(line.worker, line.at - line.number / 1000, line.at))
                case "began":
                    run = Run(line.number, line.worker, line.process, line.at)
                    self.runs.setdefault(line.number, []).append(run)
                case "returned":
                    self.tokens.setdefault(line.number, set()).add(line.token)
                case _:
                    self.done.setdefault(line.number, line.at)
                    # A process does one task at a time, so the newest open run of the process is the one.
                    for run in reversed(self.runs[line.number]):
                        if run.process == line.process and run.done is None:
                            run.done = line.at
                            break


class Reader:
    """Reads a growing ledger, each line once."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._offset = 0
        self.record = Record()

    def read(self) -> Record:
        """Everything up to now."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            # A line that crosses a page may be seen half-written: it is read the next time.
            text = file.read().rpartition(b"\n")[0]
        self._offset += len(text) + 1 if text else 0
        self.record.add(map(_parse, text.decode().splitlines()))
        return self.record


def _parse(text: str) -> Line:
    event, number, worker, process, at, token = text.split()
    return Line(event, int(number), int(worker), int(process), float(at), token)
