"""Every configuration that the checks of `scripts/checks` are run over; a further one is one more entry.

A name says what is meant to differ; the document is laid over the stack file, as a person would write it there.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Configuration(NamedTuple):
    """A stack and what is laid over its file."""

    stack: str
    overrides: dict[str, Any] | None = None


_SECRET: Final = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop-AbCdEf"
_VPC: Final = {
    "vpcId": "vpc-0123456789abcdef0",
    "subnetIds": [f"subnet-0123456789abcdef{number}" for number in range(3)],
}
_SMALLEST: Final = {"cpu": 256, "memory": 512, "min": 1, "max": 1, "concurrency": 1}
_QUEUES: Final = (
    *("high_priority_queue", "sync_queue", "workflow_queue", "data_queue", "monitoring_queue", "celery", "dead_letter"),
)

CONFIGURATIONS: Final[dict[str, Configuration]] = {
    "staging": Configuration("staging"),
    "prod": Configuration("prod"),
    "arm64": Configuration("prod", {"image": {"platform": "linux/arm64"}}),
    "x86-64": Configuration("staging", {"image": {"platform": "linux/amd64"}}),
    "smallest": Configuration(
        "staging",
        {
            "monitor": {"cpu": 256, "memory": 512},
            "network": {"cidr": "10.9.0.0/22", "zones": 2, "nat": "single"},
            "redis": {"nodeType": "cache.t4g.micro", "shards": 1, "replicas": 1, "snapshotDays": 0},
            "letters": {"days": 1},
            "logs": {"retentionDays": 1},
            "queues": dict.fromkeys(_QUEUES, _SMALLEST),
        },
    ),
    "widest": Configuration(
        "prod",
        {
            "network": {"cidr": "172.16.0.0/16", "zones": 3, "egressCidrs": ["203.0.113.0/24", "198.51.100.0/24"]},
            "redis": {"nodeType": "cache.r7g.large", "shards": 6, "replicas": 2, "snapshotDays": 35},
            "shutdown": {"stopTimeout": 120, "grace": 110},
            "alarms": {"emails": ["oncall@example.org", "platform@example.org"]},
            "logs": {"retentionDays": 2557},
            "queues": {
                "data_queue": {"cpu": 16384, "memory": 122880, "min": 4, "max": 500, "concurrency": 16},
                "sync_queue": {"cpu": 4096, "memory": 8192, "min": 7, "max": 30},
            },
        },
    ),
    "one-nat": Configuration("prod", {"network": {"nat": "single"}}),
    "fixed-counts": Configuration("prod", {"queues": {name: {"min": 3, "max": 3} for name in _QUEUES}}),
    "scaled-by-one": Configuration(
        "staging", {"queues": {"data_queue": {"min": 1, "max": 2}, "celery": {"min": 2, "max": 3}}}
    ),
    "spot-in-prod": Configuration(
        "prod",
        {"queues": {"data_queue": {"idempotent": True, "spot": {"base": 2, "percent": 75}, "max": 40}}},
    ),
    "existing-vpc": Configuration("prod", {"network": {**_VPC, "routeTableIds": ["rtb-0123456789abcdef0"]}}),
    "existing-vpc-with-its-own-endpoints": Configuration(
        "staging",
        {
            "waitFor": ["tcp://orders.example.org:5432"],
            "network": {
                **_VPC,
                "nat": "none",
                "egress": [{"to": "10.1.0.0/16", "port": 5432, "description": "Orders database"}],
            },
        },
    ),
    "endpoints-only": Configuration("prod", {"network": {"nat": "none", "endpoints": ["sqs"]}}),
    "valkey-durable": Configuration("prod", {"redis": {"engine": "valkey", "durability": "sync"}}),
    "iam": Configuration("prod", {"redis": {"authentication": "iam"}}),
    "separate-results": Configuration(
        "prod", {"redis": {"results": {"shards": 2, "snapshotDays": 1, "nodeType": "cache.r7g.large"}}}
    ),
    "valkey-iam-results": Configuration(
        "staging", {"redis": {"engine": "valkey", "authentication": "iam", "results": {"engine": "redis"}}}
    ),
    "two-passwords": Configuration("staging", {"redis": {"passwords": [1, 2]}}),
    "extra-queue": Configuration(
        "prod",
        {
            "queues": {
                "reports_queue": {
                    "priority": 4,
                    "pool": "threads",
                    "concurrency": 20,
                    "partitions": 3,
                    "min": 4,
                    "max": 10,
                    "idempotent": True,
                    "spot": {"percent": 60},
                    "taskSeconds": 2,
                    "targetLatency": 30,
                    "protection": 15,
                    "schedule": [
                        {"cron": "0 20 ? * * *", "timezone": "Europe/Berlin", "min": 1},
                        {"at": "2026-12-24T08:00:00", "min": 6, "max": 40},
                    ],
                },
                "monitoring_queue": {"enabled": False},
                "celery": {"priority": 2},
            }
        },
    ),
    "named-image": Configuration("staging", {"image": {"digest": f"sha256:{'ab' * 32}"}}),
    "queue-off": Configuration("staging", {"queues": {"monitoring_queue": {"enabled": False}}}),
    "no-beat": Configuration("staging", {"beat": {"enabled": False}}),
    "no-flower": Configuration("prod", {"flower": {"enabled": False}}),
    "exec-and-own-topic": Configuration(
        "staging",
        {"exec": True, "alarms": {"topicArn": "arn:aws:sns:eu-central-1:123456789012:oncall"}},
    ),
    "protected-staging": Configuration("staging", {"protect": True, "lease": 60}),
    "own-code": Configuration(
        "prod",
        {
            "owner": "shop",
            "taskModules": ["shop.tasks", "shop.mail"],
            "waitFor": ["https://catalogue.example.org/health"],
            "queues": {
                "data_queue": {
                    "environment": {"SHOP": "eu", "SHOP_TOKEN_URL": _SECRET},
                    "secrets": {"SHOP_TOKEN": _SECRET},
                    "policies": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
                }
            },
        },
    ),
}
