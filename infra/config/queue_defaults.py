"""What a queue is where the stack file says nothing: some values follow from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from infra.plan.scaling import backlog_per_task
from service.fleet import ALL_QUEUES, DEAD_LETTER_QUEUE, KEPT_LIMITS, Environment, Queue

Document = dict[str, Any]

#: Task sizes: prod's limit is 2 vCPU, which Fargate sells from 4 GB on.
_TASK: Final[dict[Environment, Document]] = {
    "staging": {"cpu": 1024, "memory": 2048},
    "prod": {"cpu": 2048, "memory": 4096},
}
_TIME_LIMIT: Final = 3600
#: Tasks that one service may have.
MAX_TASKS: Final = 500
_BUILT_IN: Final = {queue.name: queue for queue in ALL_QUEUES}


def queues(given: Mapping[str, Any], environment: Environment) -> Document:
    """Return every queue, built in or `given`, with all its keys as in a stack file."""
    return {
        name: _queue(name, given.get(name, {}), environment)
        for name in (*_BUILT_IN, *(name for name in given if name not in _BUILT_IN))
    }


def container(task: Any) -> Any:
    """Return `task` with the container's limits where it leaves them open.

    Half of the task's cpu is guaranteed, half of its memory is the limit, a quarter is reserved.
    """
    if not isinstance(task, dict):
        return task
    cpu, memory = task.get("cpu"), task.get("memory")
    open_keys: Document = {}
    if type(cpu) is int:
        open_keys["containerCpu"] = cpu // 2
    if type(memory) is int:
        open_keys |= {"containerMemory": memory // 2, "memoryReservation": memory // 4}
    return open_keys | task


def _queue(name: str, given: Any, environment: Environment) -> Any:
    if not isinstance(given, dict):
        return given
    # A queue of one's own says its priority itself: otherwise a misspelt name would make a queue.
    priority = {"priority": _BUILT_IN[name].priority} if name in _BUILT_IN else {}
    queue = _BUILT_IN.get(name, Queue(name, 0))
    pool = given.get("pool")
    if pool in KEPT_LIMITS:
        queue = replace(queue, pool=pool)
    document = {**priority, **_plain(queue, environment), **given}
    document = {**_workers(queue, document, environment), **document}
    document |= {"spot": _spot(document, environment), "schedule": _schedule(document)}
    return container(_scaling(document) | document)


def _plain(queue: Queue, environment: Environment) -> Document:
    """What depends on nothing else."""
    prod, letters = environment == "prod", queue.name == DEAD_LETTER_QUEUE.name
    return {
        **_TASK[environment],
        "enabled": True,
        "pool": queue.pool,
        "partitions": queue.partitions,
        "min": (3 if prod else 2) - letters,
        # A letter leaves its dead list only once it is stored.
        "idempotent": letters,
        "scaleOutDepth": 100,
        "targetLatency": 60,
        "taskSeconds": None,
        "scaleInBusy": 50,
        "alarmDepth": 1000,
        "alarmAge": 900,
        "alarmFailures": 10,
        "environment": {},
        "secrets": {},
        "policies": [],
    }


def _workers(queue: Queue, document: Document, environment: Environment) -> Document:
    """What follows from the pool and the fewest tasks."""
    kept = KEPT_LIMITS[queue.pool]
    times = 1 if queue.name == DEAD_LETTER_QUEUE.name else 4
    limit = document.get("timeLimit", _TIME_LIMIT if "time_limit" in kept else None)
    seconds = limit if type(limit) is int else _TIME_LIMIT
    concurrency = 1 if queue.pool == "solo" else _part(queue.concurrency, environment)
    return {
        "max": min(MAX_TASKS, _least(document) * times),
        "concurrency": concurrency,
        "autoscaleMin": _idle(queue, document.get("concurrency", concurrency), environment),
        "timeLimit": limit,
        "softTimeLimit": max(1, seconds * 11 // 12) if "soft_time_limit" in kept else None,
        "maxTasksPerChild": 1000 if "max_tasks_per_child" in kept else None,
        "protection": max(1, -(-seconds // 60)),
    }


def _idle(queue: Queue, concurrency: Any, environment: Environment) -> int | None:
    if queue.autoscale_min is None or queue.pool != "prefork":
        return None
    least = _part(queue.autoscale_min, environment)
    return min(least, concurrency) if type(concurrency) is int and concurrency > 0 else least


def _spot(document: Document, environment: Environment) -> Any:
    """In staging what may run twice is on Spot above one task; in prod nothing is, and all of `min` never."""
    given = document.get("spot", {})
    if not isinstance(given, dict):
        return given
    staging = environment == "staging"
    spot = staging and document["idempotent"] is True and document["max"] != 1
    return {"base": 1 if staging else _least(document), "percent": 100 if spot else 0} | given


def _schedule(document: Document) -> Any:
    given = document.get("schedule", [])
    if not isinstance(given, list):
        return given
    base = {"cron": None, "at": None, "timezone": "UTC", "min": document["min"], "max": document["max"]}
    return [base | entry if isinstance(entry, dict) else entry for entry in given]


def _scaling(document: Document) -> Document:
    latency, concurrency, seconds = (document[key] for key in ("targetLatency", "concurrency", "taskSeconds"))
    known = type(latency) is int and type(concurrency) is int and type(seconds) in (int, float) and seconds > 0
    return {"backlogPerTask": backlog_per_task(latency, concurrency, seconds) if known else 25}


def _least(document: Document) -> int:
    """The fewest tasks; what is wrong with them is said once, where they stand."""
    least = document["min"]
    return least if type(least) is int and 1 <= least <= MAX_TASKS else 1


def _part(number: int, environment: Environment) -> int:
    """Staging has half of prod."""
    return number if environment == "prod" else max(1, number // 2)
