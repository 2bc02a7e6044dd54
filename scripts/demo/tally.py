"""Reads the ledger: which tasks ran, how often, where."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Run:
    """One execution of a task.

    Attributes:
        pid: The process that ran it.
        started: When, in seconds since the epoch.
        ended: When it ended, if it did.
        state: Celery's state at the end.
    """

    pid: int
    started: float
    ended: float | None = None
    state: str | None = None


class Tally:
    """Every execution that the ledger tells of, by task id.

    Attributes:
        runs: The executions of each task, in order.
        done: The tasks that ran to a successful end at least once.
    """

    def __init__(self, ledger: Path) -> None:
        """Start reading at the beginning."""
        self.runs: dict[str, list[Run]] = {}
        self.done: set[str] = set()
        self._ledger = ledger
        self._offset = 0

    def refresh(self) -> None:
        """Read what was appended since the last time."""
        if not self._ledger.exists():
            return
        with self._ledger.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        # A line that is still being written waits for the next time.
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._note(json.loads(line))

    def running_in(self, pids: set[int]) -> list[str]:
        """The tasks that these processes have started and not ended."""
        return [task_id for task_id, runs in self.runs.items() if any(r.pid in pids and r.ended is None for r in runs)]

    def repeated(self) -> dict[str, list[Run]]:
        """The tasks that were started more than once."""
        return {task_id: runs for task_id, runs in self.runs.items() if len(runs) > 1}

    def _note(self, entry: dict[str, object]) -> None:
        task_id, pid, at = str(entry["id"]), int(str(entry["pid"])), float(str(entry["at"]))
        runs = self.runs.setdefault(task_id, [])
        if entry["event"] == "start":
            runs.append(Run(pid, at))
            return
        open_run = next((run for run in reversed(runs) if run.pid == pid and run.ended is None), None)
        if open_run is not None:
            open_run.ended, open_run.state = at, str(entry["state"])
            if open_run.state == "SUCCESS":
                self.done.add(task_id)
