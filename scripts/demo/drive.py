"""Drives the workload through the fleet and the fleet through the faults."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

from rich.console import Console

from scripts.demo.errors import DemoError
from scripts.demo.faults import Faults, kill_primary, kill_worker
from scripts.demo.gauge import Gauge
from scripts.demo.publisher import Publisher
from scripts.demo.stage import BUSY, Stage
from scripts.demo.tally import Tally
from scripts.demo.view import Clock, Row, Snapshot, View, view
from scripts.demo.workload import Workload
from service.work.tokens import Statistics

#: Shares of the work after which the faults come.
PRIMARY_DIES, WORKER_DIES = 0.15, 0.35
#: Seconds without progress after which the rest counts as lost: longer than two leases.
STALLED_SECONDS = 150.0
TICK = 0.25


class Drive:
    """One passage of the workload.

    Attributes:
        tally: What ran.
        faults: What was done.
        publisher: Who published.
    """

    def __init__(self, console: Console, clock: Clock, stage: Stage, workload: Workload, cleanup: ExitStack) -> None:
        """Prepare; nothing is published.

        Args:
            console: Where the view is.
            clock: The demo's time.
            stage: What runs.
            workload: What to publish.
            cleanup: Gets what ends the background threads.
        """
        self.tally = Tally(stage.ledger)
        self.faults = Faults()
        self.publisher = Publisher(workload)
        self._console = console
        self._clock = clock
        self._stage = stage
        self._workload = workload
        self._gauge = Gauge(stage.settings, stage.app.conf.broker_transport_options, stage.settings.queues)
        self._sequential = _InBackground(workload)
        cleanup.callback(self._gauge.stop)
        cleanup.callback(self.publisher.stop)

    def run(self) -> Statistics:
        """Publish, break, wait for the end.

        Returns:
            The sequential result.

        Raises:
            DemoError: Publishing failed, or a service cannot be kept alive.
        """
        self._gauge.start()
        self.publisher.start()
        with view(self._console, self._clock, len(self._workload.ids)) as shown:
            script = self._script(shown)
            waiting_for = "the work"
            progress = time.monotonic()
            seen = -1
            while waiting_for:
                self._look()
                if len(self.tally.done) != seen or not self.publisher.finished:
                    seen, progress = len(self.tally.done), time.monotonic()
                for event in self._stage.fleet.replace_ended():
                    shown.event(event)
                next(script, None)
                waiting_for = self._waiting_for()
                shown.update(self._snapshot(waiting_for))
                if time.monotonic() > progress + STALLED_SECONDS:
                    shown.event(f"no task has ended for {STALLED_SECONDS:.0f} s: giving up on the rest")
                    break
                time.sleep(TICK)
        return self._sequential.result()

    def _script(self, shown: View) -> Iterator[None]:
        """The faults, each at its time."""
        stage, total = self._stage, len(self._workload.ids)
        shown.event(f"publishing {total} tasks")
        while len(self.tally.done) < PRIMARY_DIES * total:
            yield
        yield from kill_primary(stage.cluster, stage.victim, BUSY, self.faults, shown.event)
        while len(self.tally.done) < WORKER_DIES * total:
            yield
        yield from kill_worker(stage.fleet, BUSY, self.tally, self.faults, shown.event)
        while not self.publisher.finished:
            yield
        shown.event(f"all tasks are published; the slowest publication took {self.publisher.slowest:.1f} s")
        # Late, when the machine has time: the fleet's own work comes first.
        self._sequential.start()

    def _look(self) -> None:
        self.tally.refresh()
        if self.publisher.error is not None:
            error = self.publisher.error
            raise DemoError(f"Publishing failed: {type(error).__name__}: {error}") from error
        self.publisher.jobs_done = sum(job.id in self.tally.done for job in self._workload.jobs)

    def _waiting_for(self) -> str:
        """What is still to come, in words; empty at the end."""
        missing = len(self._workload.ids) - len(self.tally.done)
        if not self.publisher.finished:
            return "the publisher"
        if missing:
            held = sum(task_id not in self.tally.done for task_id in self.faults.held)
            return f"{missing} tasks" + (f", {held} of them until the dead worker's lease ends" if held else "")
        # Finished tasks whose acknowledgement died with a server or a worker come back: they count, so wait for them.
        leased = sum(state.leased + state.depth for state in self._gauge.stats.values())
        if leased:
            return f"{leased} deliveries that nobody has acknowledged yet"
        return "" if self._sequential.done else "the sequential computation"

    def _snapshot(self, waiting_for: str) -> Snapshot:
        names = self._workload.ids
        done = Counter(self._workload.queue_of(names[task_id]) for task_id in self.tally.done if task_id in names)
        asked = self._workload.by_queue
        rows = []
        for queue in self._stage.settings.queues:
            tasks, stats = self._stage.fleet.of_queue(queue), self._gauge.stats[queue]
            alive = sum(task.child.alive for task in tasks)
            rows.append(
                Row(
                    queue=queue,
                    workers=f"{alive}/{len(tasks)}",
                    sent=asked[queue],
                    done=done[queue],
                    depth=stats.depth,
                    leased=stats.leased,
                    redelivered=stats.redelivered,
                )
            )
        return Snapshot(rows, self.publisher.sent, done.total(), len(names), waiting_for)


class _InBackground:
    """The sequential computation, in a thread."""

    def __init__(self, workload: Workload) -> None:
        self._result: Statistics | None = None
        self._workload = workload
        self._thread = threading.Thread(target=self._run, name="sequential", daemon=True)

    @property
    def done(self) -> bool:
        return self._result is not None

    def start(self) -> None:
        self._thread.start()

    def result(self) -> Statistics:
        """The result; computed now if the thread never began."""
        if self._thread.ident is not None:
            self._thread.join()
        return self._result if self._result is not None else self._workload.sequential()

    def _run(self) -> None:
        self._result = self._workload.sequential()
