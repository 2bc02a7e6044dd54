"""Numbers and expressions of autoscaling."""

from __future__ import annotations

from dataclasses import dataclass

#: Running tasks, at least one: a queue without workers still has a finite backlog per task.
_TASKS = "IF(tasks > 1, tasks, 1)"

#: Metric math for target tracking: falls as capacity rises. Uses the ids `depth` and `tasks`.
BACKLOG_PER_TASK = f"depth / {_TASKS}"


@dataclass(frozen=True)
class Step:
    """One step of a scaling policy; bounds are offsets from the alarm's threshold, None is infinity.

    Attributes:
        lower: Inclusive lower bound.
        upper: Exclusive upper bound.
        change: Tasks to add, or to remove if negative.
    """

    lower: int | None
    upper: int | None
    change: int


def out_steps(threshold: int, room: int) -> tuple[Step, ...]:
    """Return the steps that add tasks once a metric passes `threshold`.

    A quarter of the `room` between minimum and maximum up to twice the threshold, half of it up to five times, all of
    it beyond.

    Raises:
        ValueError: If there is no room or the threshold is not positive.
    """
    if room < 1 or threshold < 1:
        raise ValueError(f"nothing to scale with room for {room} at {threshold}")
    return (
        Step(0, threshold, -(-room // 4)),
        Step(threshold, 4 * threshold, -(-room // 2)),
        Step(4 * threshold, None, room),
    )


def backlog_per_task(latency: int, concurrency: int, seconds: float) -> int:
    """Return how many messages may wait for each running task so that the last one starts within `latency`.

    A worker ends `concurrency` Celery tasks in the time that one takes, so a backlog of b messages per worker is gone
    after b x seconds / concurrency.

    Args:
        latency: Seconds that a message may wait.
        concurrency: Celery tasks at a time in one worker.
        seconds: How long a Celery task takes on average.
    """
    return max(1, int(latency * concurrency / seconds))


def busy_percent(concurrency: int) -> str:
    """Return metric math for the share of the fleet's slots that have work, in percent.

    Uses the ids `depth`, `leased` and `tasks`; counts what waits and what runs, so an empty queue with long tasks
    in hand is busy.
    """
    return f"100 * (depth + leased) / ({_TASKS} * {concurrency})"
