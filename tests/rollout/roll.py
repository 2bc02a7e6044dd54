"""Replaces the tasks of a local fleet as ECS does: in all services at once, in each one by one, new before old."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from scripts.demo.fleet import Fleet, Task
from scripts.demo.stage import HEALTHY_SECONDS


def roll(fleet: Fleet, ended: list[Task]) -> Iterator[None]:
    """Replace every task by one with the fleet's present environment; waits by yielding.

    Args:
        fleet: Whose tasks.
        ended: Gets the old tasks.
    """
    old = list(fleet.tasks)
    while old:
        batch = list({task.service.name: task for task in reversed(old)}.values())
        old = [task for task in old if task not in batch]
        yield from _until_healthy([fleet.start_task(task.service) for task in batch])
        for task in batch:
            fleet.tasks.remove(task)
            ended.append(task)
            task.child.send(signal.SIGTERM)
        yield from _until_ended(batch)


def _until_healthy(tasks: list[Task]) -> Iterator[None]:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while tasks:
        for task in tasks:
            assert task.child.alive, f"{task.child.name} ended: {task.child.last_words()}"
        tasks = [task for task in tasks if not task.healthy()]
        assert not tasks or time.monotonic() < deadline, f"not healthy: {[task.child.name for task in tasks]}"
        yield


def _until_ended(tasks: list[Task]) -> Iterator[None]:
    began = time.monotonic()
    while left := [task for task in tasks if task.child.alive]:
        for task in left:
            late = time.monotonic() > began + task.child.stop_timeout
            assert not late, f"{task.child.name} did not end within its stop timeout: {task.child.last_words()}"
        yield
