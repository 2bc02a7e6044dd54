"""A small fleet of real workers, each in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from scripts.localcluster.node import die_with_parent
from tests.chaos import app
from tests.chaos.ledger import Reader
from tests.rediscluster.faultapp import Plan
from tests.rediscluster.faultkit import ROOT, START, Worker, eventually

#: Pool processes of a worker.
CHILDREN = 3


class ChaosWorker(Worker):
    """A prefork worker of the chaos app."""

    def __init__(self, plan: Plan, reader: Reader, queues: Sequence[str], group: int | None) -> None:
        """Start it, as a member of a group if one is given."""
        self.plan = plan
        self.reader = reader
        self.log = Path(plan.directory, f"worker-{time.monotonic_ns()}.log")
        command = [sys.executable, "-m", "celery", "-A", f"{app.__name__}:worker_app", "worker"]
        command += ["-P", "prefork", "-c", str(CHILDREN), "-l", "INFO", "-Q", ",".join(queues)]
        command += ["-n", f"{time.monotonic_ns()}@chaos", "--without-mingle"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*die_with_parent(), *command],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {app.PLAN: plan.dump()},
                start_new_session=True,
                group=group,
            )

    def wait_ready(self) -> Self:
        """Wait until it consumes."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the worker ended at once:\n{self.log.read_text()[-4000:]}"
            return self.pid in self.reader.read().ready

        eventually(ready, f"worker {self.pid} is ready, see {self.log}", START)
        return self

    def children(self) -> list[int]:
        """Its pool processes, oldest first."""
        return sorted(child.pid for child in psutil.Process(self.pid).children())

    def left(self) -> list[int]:
        """Processes of its group that still live."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getpgid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found


class Fleet:
    """Workers at numbered places: whoever leaves is followed by another at the same place."""

    def __init__(self, plan: Plan, reader: Reader, queues: Sequence[str], groups: Sequence[int | None]) -> None:
        """Start a worker at each place, as a member of its group; returns when they consume."""
        self._plan, self._reader, self._queues, self._groups = plan, reader, queues, groups
        self.everyone: list[ChaosWorker] = []
        self.places = [self._launch(place) for place in range(len(groups))]
        for worker in self.places:
            worker.wait_ready()

    def _launch(self, place: int) -> ChaosWorker:
        worker = ChaosWorker(self._plan, self._reader, self._queues, self._groups[place])
        self.everyone.append(worker)
        return worker

    def replace(self, place: int) -> None:
        """Put a new worker at a place; returns when it consumes."""
        self.replace_later(place).wait_ready()

    def replace_later(self, place: int) -> ChaosWorker:
        """Put a new worker at a place that may not be able to consume yet."""
        self.places[place] = self._launch(place)
        return self.places[place]

    def check(self) -> list[str]:
        """Workers that ended by themselves."""
        ended = [worker for worker in self.places if worker.process.poll() is not None]
        return [f"a worker ended by itself with status {w.process.returncode}: {w.log}" for w in ended]

    def stop(self) -> list[str]:
        """Ask all to end; returns what was wrong with how they did."""
        statuses = [worker.stop() for worker in self.places]
        return [f"a worker ended with status {status}" for status in statuses if status]

    def kill(self) -> None:
        """End whatever is left."""
        for worker in self.everyone:
            worker.kill()
