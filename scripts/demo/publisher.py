"""Publishes the workload while the fleet works, so that the faults meet publishers too."""

from __future__ import annotations

import threading
import time

from scripts.demo.workload import Workload

#: Jobs that may wait at a time: enough to keep every queue busy, few enough to publish until near the end.
WAITING = 600


class Publisher:
    """A thread that publishes everything once.

    Attributes:
        sent: Tasks that the cluster has acknowledged; the chord counts when all of it is published.
        error: What ended the thread before its time.
        jobs_done: How many of the jobs have run; somebody else counts them here.
        slowest: The longest that one publication took, in seconds.
    """

    def __init__(self, workload: Workload) -> None:
        """Prepare; nothing is published."""
        self.jobs_done = 0
        self.sent = 0
        self.error: Exception | None = None
        self.slowest = 0.0
        self._workload = workload
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def finished(self) -> bool:
        """Whether everything is published, or the thread failed."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Do not publish the rest."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            self._publish_all()
        except Exception as error:  # noqa: BLE001  handed to the main thread, which reports it
            self.error = error

    def _publish_all(self) -> None:
        workload = self._workload
        workload.publish_reduction()
        self.sent = len(workload.ids) - len(workload.jobs)
        for number, job in enumerate(workload.jobs):
            while number - self.jobs_done > WAITING and not self._stopping.wait(0.02):
                pass
            if self._stopping.is_set():
                return
            began = time.monotonic()
            workload.publish(job)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.sent += 1
