"""The configuration of an empty stack file, per environment: the only place where defaults stand.

Those of a queue, of which some follow from others, are in `queue_defaults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.config import redis
from infra.config.queue_defaults import Document, container, queues
from service.fleet import Environment

_DAY: Final = 86400


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
        "image": {"platform": "linux/amd64", "base": "python:3.11-slim-bookworm", "digest": None},
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
            "engine": "redis",
            "nodeType": "cache.m7g.large" if prod else "cache.t4g.small",
            "shards": 3,
            "replicas": 1,
            "durability": "none",
            "snapshotDays": 7 if prod else 1,
            "snapshotWindow": "01:00-02:00",
            "maintenanceWindow": "sun:03:00-sun:04:00",
            "restoreFrom": None,
            "memoryAlarm": 75,
            "cpuAlarm": 80,
            "authentication": "password",
            "passwords": [1],
            "results": None,
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
        "flower": {"enabled": True, "readOnly": prod, "events": True, "cpu": 256, "memory": 1024},
        "schedules": {},
        "queues": queues({}, environment),
    }


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Document:
    """Return `base` with the values of `over` laid on top; mappings are merged, everything else replaced."""
    merged: Document = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def derive(document: Mapping[str, Any]) -> Document:
    """Return `document` with what it leaves open and what follows from the rest: container limits, versions."""
    derived: Document = dict(document) | {name: container(document.get(name)) for name in ("monitor", "beat", "flower")}
    if isinstance(document.get("redis"), dict):
        derived["redis"] = redis.derive(document["redis"])
    return derived
