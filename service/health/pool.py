"""Whether a pool still has somebody who can run a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.concurrency.thread import TaskPool as ThreadPool


def runs_in_loop(pool: Any) -> bool:
    """Whether tasks run in the thread of the main loop, so that one that is busy stops it."""
    return not isinstance(pool, ProcessPool | ThreadPool)


def is_dead(pool: Any) -> bool:
    """Whether nobody in the pool can run a task; a pool whose tasks run in the main loop lives as long as that does."""
    # By what each of them has; the stubs know neither.
    inner: Any = pool
    if isinstance(pool, ProcessPool):
        processes = inner._pool._pool if inner._pool is not None else []
        return not any(_alive(process.pid) for process in list(processes))
    if isinstance(pool, ThreadPool):
        return bool(inner.executor._shutdown)
    return False


def _alive(pid: int) -> bool:
    # Not waitpid: it would take the exit status away from the pool, which replaces its processes by it.
    try:
        # The name, in parentheses, may hold anything; the state follows it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
