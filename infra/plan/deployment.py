"""Rolling deployments: percentages, time, and where the tasks run."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Share:
    """One entry of a capacity provider strategy.

    Attributes:
        provider: `FARGATE` or `FARGATE_SPOT`.
        weight: Its share of the tasks above all bases.
        base: Tasks that it gets first; None for none.
    """

    provider: str
    weight: int
    base: int | None = None


def capacity(base: int, spot_percent: int) -> tuple[Share, ...]:
    """Return where tasks run: `base` on demand, and of those above `spot_percent` % on Spot."""
    if not spot_percent:
        return (Share("FARGATE", 1),)
    return (Share("FARGATE", 100 - spot_percent, base), Share("FARGATE_SPOT", spot_percent))


def update_minutes(protection: int) -> int:
    """Return how long an update may take, in minutes: an hour, and what protected workers hold it up.

    Args:
        protection: Minutes for which a run of a Celery task is protected; a worker is for at most twice as long.
    """
    return 60 + 2 * protection
