"""What the pool of processes remembers of the jobs that it has given away."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from billiard.pool import CLOSE, RUN

from service.rediscluster.processes import ProcessPool


class Process:
    def __init__(self, descriptor: int, *, alive: bool = True) -> None:
        self.inqW_fd = descriptor
        self._alive = alive

    def _is_alive(self) -> bool:
        return self._alive


class Job:
    def __init__(self, cache: dict[Any, Any], name: str, process: Process | None, *, accepted: bool = False) -> None:
        self._accepted, self._write_to = accepted, process
        self._cache, self._name = cache, name
        cache[name] = self

    def discard(self) -> None:
        del self._cache[self._name]

    def worker_pids(self) -> list[int]:
        return []


@pytest.fixture
def pool() -> Any:
    """A pool without processes of its own."""
    made: Any = object.__new__(ProcessPool)
    made._cache, made.outbound_buffer, made._pool = {}, deque(), []
    made._active_writers, made._active_writes, made._busy_workers = set(), set(), set()
    made.maintain_pool = lambda: None
    return made


@pytest.mark.parametrize("state", [RUN, CLOSE])
def test_what_a_process_has_is_kept_when_the_worker_stops_or_reconnects(pool: Any, state: int) -> None:
    pool._state = state
    given, idle = Process(1), Process(4)
    Job(pool._cache, "begun", Process(2), accepted=True)
    Job(pool._cache, "given, and nobody has said yet that it began", given)
    Job(pool._cache, "waits for a process", None)
    Job(pool._cache, "given to a process that died", Process(3, alive=False))
    # It has the descriptor of the one that died, and Celery takes it for the one that was written to.
    pool.outbound_buffer.append(Job(pool._cache, "waits again, its process died", idle))
    pool._busy_workers.update((1, 2, 3, 4))
    pool.flush()
    assert set(pool._cache) == {"begun", "given, and nobody has said yet that it began"}
    assert not pool.outbound_buffer
    assert pool._busy_workers == {1, 2}, "those that have a task get no other"


def test_a_pool_does_not_shrink_by_a_process_that_was_given_a_job(pool: Any) -> None:
    given, idle = Process(1), Process(2)
    pool._pool = [given, idle]
    given.pid = idle.pid = 1  # type: ignore[attr-defined]
    Job(pool._cache, "given", given)
    assert list(pool._iterinactive()) == [idle]
