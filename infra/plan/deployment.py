"""Percentages of a rolling deployment."""

from __future__ import annotations

#: Never fewer healthy tasks than wanted: new ones start before old ones stop.
MINIMUM_HEALTHY_PERCENT = 100


def maximum_percent(tasks: int) -> int:
    """Return the smallest maximum percent that lets one task more than `tasks` run.

    ECS rounds the resulting number down, so 133 % of 3 tasks is 3 and a start-first deployment would never move.
    The percentage follows the current desired count: after scaling out, a batch holds more than one task.

    Raises:
        ValueError: If `tasks` is below 1.
    """
    if tasks < 1:
        raise ValueError(f"a rolling deployment needs at least 1 task, not {tasks}")
    return -(-100 * (tasks + 1) // tasks)


def running_limit(tasks: int, percent: int) -> int:
    """Return how many tasks ECS lets run at once for a desired count and a maximum percent."""
    return tasks * percent // 100
