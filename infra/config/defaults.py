"""The configuration of an empty stack file, per environment: the only place where defaults stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.fleet import DEAD_LETTER_QUEUE, QUEUES, Environment, Queue

Document = dict[str, Any]

_DAY: Final = 86400

#: Task sizes: prod's limit is 2 vCPU, which Fargate sells from 4 GB on.
_TASK: Final[dict[Environment, Document]] = {
    "staging": {"cpu": 1024, "memory": 2048},
    "prod": {"cpu": 2048, "memory": 4096},
}


def defaults(environment: Environment) -> Document:
    """Return the whole configuration document of `environment`, keys as in a stack file."""
    prod = environment == "prod"
    return {
        "environment": environment,
        "owner": "platform",
        "tags": {},
        "protect": prod,
        "taskModules": ["service.tasks"],
        "waitFor": [],
        "exec": False,
        "image": {"platform": "linux/amd64", "base": "python:3.11-slim-bookworm"},
        "network": {
            "vpcId": None,
            "subnetIds": [],
            "routeTableIds": [],
            "cidr": "10.20.0.0/16" if prod else "10.30.0.0/16",
            "zones": 3 if prod else 2,
            "nat": "per-zone" if prod else "single",
            "egressCidrs": ["0.0.0.0/0"],
            "egress": [],
            "endpoints": [],
            "accounts": [],
        },
        "redis": {
            "nodeType": "cache.m7g.large" if prod else "cache.t4g.small",
            "engineVersion": "7.1",
            "shards": 3,
            "replicas": 1,
            "snapshotDays": 7 if prod else 1,
            "snapshotWindow": "01:00-02:00",
            "maintenanceWindow": "sun:03:00-sun:04:00",
            "memoryAlarm": 75,
            "cpuAlarm": 80,
        },
        "lease": 60 if prod else 30,
        "shutdown": {"stopTimeout": 120, "grace": 100},
        "results": {"expires": 7 * _DAY if prod else _DAY},
        "letters": {"days": 90 if prod else 14},
        "logs": {
            "level": "INFO" if prod else "DEBUG",
            "format": "json" if prod else "text",
            "retentionDays": 365 if prod else 14,
        },
        "alarms": {"topicArn": None, "emails": [], "restarts": 5},
        "monitor": {"cpu": 256, "memory": 1024},
        "beat": {"enabled": True, "cpu": 256, "memory": 1024, "environment": {}, "secrets": {}},
        "schedules": {},
        "queues": {queue.name: _queue(queue, environment) for queue in (*QUEUES, DEAD_LETTER_QUEUE)},
    }


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Document:
    """Return `base` with the values of `over` laid on top; mappings are merged, everything else replaced."""
    merged: Document = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def derive(document: Mapping[str, Any]) -> Document:
    """Return `document` with every container limit that it leaves open, taken from the task's size."""
    queues = document.get("queues")
    derived: Document = dict(document) | {name: _container(document.get(name)) for name in ("monitor", "beat")}
    if isinstance(queues, dict):
        derived["queues"] = {name: _container(queue) for name, queue in queues.items()}
    return derived


def _queue(queue: Queue, environment: Environment) -> Document:
    prod = environment == "prod"
    letters = queue is DEAD_LETTER_QUEUE
    minimum = (3 if prod else 2) - letters
    return {
        **_TASK[environment],
        "min": minimum,
        "max": minimum if letters else minimum * 4,
        "concurrency": queue.concurrency if prod else _half(queue.concurrency),
        "autoscaleMin": queue.autoscale_min if prod or queue.autoscale_min is None else _half(queue.autoscale_min),
        "softTimeLimit": 3300,
        "timeLimit": 3600,
        "maxTasksPerChild": 1000,
        "spot": not prod,
        "scaleOutDepth": 100,
        "scaleOutAge": 60,
        "backlogPerTask": 25,
        "scaleInBusy": 50,
        "alarmDepth": 1000,
        "alarmAge": 900,
        "alarmFailures": 10,
        "environment": {},
        "secrets": {},
        "policies": [],
    }


def _half(number: int) -> int:
    return max(1, number // 2)


def _container(task: Any) -> Any:
    """Half of the task's cpu is guaranteed, half of its memory is the limit, a quarter is reserved."""
    if not isinstance(task, dict):
        return task
    cpu, memory = task.get("cpu"), task.get("memory")
    open_keys: Document = {}
    if type(cpu) is int:
        open_keys["containerCpu"] = cpu // 2
    if type(memory) is int:
        open_keys |= {"containerMemory": memory // 2, "memoryReservation": memory // 4}
    return open_keys | task
