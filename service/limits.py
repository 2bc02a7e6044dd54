"""Limits that a pool does not keep: said by name when a worker starts, since Celery says nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from service import fleet
from service.routing import Routing
from service.settings import Settings

_NAMES: Final = {"soft_time_limit": "soft limits", "time_limit": "hard limits"}


def unkept(settings: Settings) -> list[str]:
    """The settings that the worker's pool does not keep, one sentence each."""
    pool = settings.pool
    sentences = [
        f"FLEET_{field.upper()}={getattr(settings, field)}: the {pool} pool does not keep {words}"
        for field, words in _NAMES.items()
        if field not in fleet.KEPT_LIMITS[pool]
    ]
    if "max_tasks_per_child" not in fleet.KEPT_LIMITS[pool]:
        sentences.append(
            f"FLEET_MAX_TASKS_PER_CHILD={settings.max_tasks_per_child}: "
            f"the {pool} pool has no child processes that could be replaced"
        )
    if pool == "solo" and settings.concurrency > 1:
        sentences.append(f"FLEET_CONCURRENCY={settings.concurrency}: the solo pool runs one task at a time")
    return sentences


def unkept_of_tasks(tasks: Iterable[Any], settings: Settings) -> list[str]:
    """Tasks of this worker's queues with limits of their own that its pool does not keep, one sentence each."""
    routing, kept = Routing(settings.queue_table), fleet.KEPT_LIMITS[settings.pool]
    return [
        f"task {task.name}: {field}={value}: the {settings.pool} pool does not keep {words}"
        for task in tasks
        if (getattr(task, "queue", None) or routing.queue_of(task.name)) in settings.queues
        for field, words in _NAMES.items()
        if field not in kept and (value := getattr(task, field, None)) is not None
    ]
