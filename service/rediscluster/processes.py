"""Celery's pool of processes, which knows what it has given them.

When a worker stops or reconnects, Celery forgets every job of whose start it was not told yet (`AsynPool.flush`), those
too that lie in a process's pipe. Their messages go back, while the process runs them all the same; and since nobody
notes their results, it waits 30 s at its end (billiard's `_ensure_messages_consumed`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from billiard.pool import TERMINATE
from celery.concurrency.asynpool import AsynPool, ResultHandler

from .native import readable

#: Seconds to wait for any of the processes to say something.
WAIT = 0.1


class _Results(ResultHandler):
    """Takes in the results while the pool ends."""

    def _flush_outqueue(self, fd: int, remove: Any, process_index: dict[int, Any], on_state_change: Any) -> Any:
        # Celery's sleeps half a second at every process that has nothing to say, while others may have.
        if fd in process_index and fd not in readable(list(process_index), WAIT):
            return None
        return super()._flush_outqueue(fd, remove, process_index, on_state_change)  # type: ignore[misc] # not in the stubs


class ProcessPool(AsynPool):
    """Celery's pool of processes, which knows what it has given them."""

    # Not in the stubs.
    _state: Any
    _cache: dict[int, Any]
    _active_writers: set[Any]
    _active_writes: set[int]
    _busy_workers: set[int]
    _flush_writer: Callable[[Any, Any], None]
    outbound_buffer: deque[Any]

    ResultHandler = _Results

    def flush(self) -> None:
        """Forget the jobs that no process has, and finish giving those of which a process has a part.

        Called when the worker stops or has lost its connection.
        """
        if self._state == TERMINATE:
            return
        for job in tuple(self._cache.values()):
            if not (job._accepted or self._given(job)):
                job.discard()
        self.outbound_buffer.clear()
        for job in tuple(self._cache.values()):
            writer = getattr(job, "_writer", lambda: None)()
            if writer in self._active_writers:
                # Also while the pool closes, when Celery leaves half a job in the pipe.
                self._flush_writer(job._write_to, writer)
        self._active_writers.clear()
        self._active_writes.clear()
        self.maintain_pool()
        busy = {job._write_to.inqW_fd for job in self._cache.values() if job._write_to is not None}
        self._busy_workers.intersection_update(busy)

    def _given(self, job: Any) -> bool:
        """Whether a process that lives has the job, or a part of it, in its pipe."""
        process = job._write_to
        # What was written to one that died waits for another.
        return process is not None and process._is_alive() and job not in self.outbound_buffer

    def _worker_active(self, worker: Any) -> bool:
        """Whether a process is busy; the pool shrinks by those that are not."""
        given = any(job._write_to is worker and self._given(job) for job in self._cache.values())
        return given or super()._worker_active(worker)  # type: ignore[misc] # not in the stubs
