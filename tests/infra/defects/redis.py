"""Defects of ElastiCache."""

from __future__ import annotations

from typing import Any, Final

from tests.infra.defects.draft import Defect, Draft, defect, document, drop, put, remove, variable

GROUP: Final = "elasticache/replicationGroup:ReplicationGroup"
USER: Final = "elasticache/user:User"
USERS: Final = "elasticache/userGroup:UserGroup"
PARAMETERS: Final = "elasticache/parameterGroup:ParameterGroup"
ALARM: Final = "metricAlarm:MetricAlarm"
NODE_ALARM: Final = "redis-0001-001-memory"


def _renamed_group(draft: Draft) -> None:
    """A trailing hyphen, wherever the user group is named."""
    draft.find(USERS).inputs["userGroupId"] = "celery-fleet-prod-"
    draft.find(GROUP).inputs["userGroupIds"] = ["celery-fleet-prod-"]


def _iam_user(draft: Draft) -> None:
    draft.find(USER, "redis-workers").inputs["authenticationMode"] = {"type": "iam"}


def _parameter(name: str, value: str) -> Any:
    def seed(draft: Draft) -> None:
        for entry in draft.find(PARAMETERS).inputs["parameters"]:
            if entry["name"] == name:
                entry["value"] = value

    return seed


DEFECTS: Final[dict[str, Defect]] = {
    "number of clusters beside shards": defect("elasticache.cluster-mode", put(GROUP, None, "numCacheClusters", 6)),
    "not in cluster mode": defect(
        "elasticache.cluster-mode alarms.sources",
        remove(GROUP, None, "numNodeGroups"),
        remove(GROUP, None, "replicasPerNodeGroup"),
    ),
    "no automatic failover": defect("elasticache.cluster-mode", put(GROUP, None, "automaticFailoverEnabled", False)),
    "all nodes in one zone": defect("elasticache.cluster-mode", put(GROUP, None, "multiAzEnabled", False)),
    "encryption at rest left to its default": defect(
        "elasticache.encryption", remove(GROUP, None, "atRestEncryptionEnabled")
    ),
    "encrypted with AWS' key": defect("elasticache.encryption", remove(GROUP, None, "kmsKeyId")),
    "TLS preferred, not required": defect(
        "elasticache.encryption", put(GROUP, None, "transitEncryptionMode", "preferred")
    ),
    "when changes happen left open": defect("elasticache.cluster-mode", remove(GROUP, None, "applyImmediately")),
    "log destination is an ARN": defect(
        "elasticache.logs",
        put(
            GROUP,
            None,
            "logDeliveryConfigurations.0.destination",
            "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/vendedlogs/celery-fleet/prod/redis-slow",
        ),
    ),
    "no engine log": defect(
        "elasticache.logs", lambda draft: draft.find(GROUP).inputs["logDeliveryConfigurations"].pop()
    ),
    "durability on the redis engine": defect("elasticache.engine", put(GROUP, None, "durability", "async")),
    "a Redis that does not exist": defect(
        "elasticache.engine elasticache.parameters", put(GROUP, None, "engineVersion", "8.0")
    ),
    "an engine that does not exist": defect("elasticache.parameters", put(GROUP, None, "engine", "keydb")),
    "identifier with a trailing hyphen": defect("elasticache.identifiers", _renamed_group),
    "queued work may be evicted": defect("elasticache.parameters", _parameter("maxmemory-policy", "volatile-lru")),
    "cluster mode off in the parameters": defect("elasticache.parameters", _parameter("cluster-enabled", "no")),
    "parameters of another family": defect("elasticache.parameters", put(PARAMETERS, None, "family", "valkey8")),
    "AWS' default parameter group": defect(
        "elasticache.parameters",
        put(GROUP, None, "parameterGroupName", "default.redis7.cluster.on"),
        lambda draft: draft.find(GROUP).property_dependencies.pop("parameterGroupName"),
    ),
    "the default user not replaced": defect(
        "elasticache.user-groups", put(USERS, None, "userIds", ["celery-fleet-prod-workers"])
    ),
    "the default user may do everything": defect(
        "elasticache.user-groups elasticache.access", put(USER, "redis-default", "accessString", "on ~* &* +@all")
    ),
    "no user group": defect("elasticache.user-groups", remove(GROUP, None, "userGroupIds")),
    "a user group of nobody": defect(
        "elasticache.user-groups elasticache.channels", put(USER, "redis-workers", "accessString", "off -@all")
    ),
    "the workers may administer": defect(
        "elasticache.access", put(USER, "redis-workers", "accessString", "on ~* &* -@all +@admin")
    ),
    "no channels": defect("elasticache.channels", put(USER, "redis-workers", "accessString", "on ~* -@all +get")),
    "a user without a password": defect("elasticache.access", put(USER, "redis-workers", "noPasswordRequired", True)),
    "IAM user called otherwise than his id": defect(
        "elasticache.iam",
        _iam_user,
    ),
    "IAM users that a task role may not connect as": defect(
        "elasticache.iam",
        document(
            "rolePolicy:RolePolicy",
            "celery-task",
            "policy",
            lambda found: found.update(
                Statement=[s for s in found["Statement"] if "elasticache:Connect" not in s["Action"]]
            ),
        ),
        base="iam",
    ),
    "durability on nodes that do not have it": defect(
        "elasticache.engine", put(GROUP, None, "nodeType", "cache.t4g.small"), base="valkey-durable"
    ),
    "durability before Valkey 9": defect(
        "elasticache.engine elasticache.parameters", put(GROUP, None, "engineVersion", "8.2"), base="valkey-durable"
    ),
    "password with marks that ElastiCache refuses": defect(
        "elasticache.passwords", put("RandomPassword", "redis-workers-password-1", "special", True)
    ),
    "short password": defect("elasticache.passwords", put("RandomPassword", "redis-workers-password-1", "length", 12)),
    "alarm on the group instead of a node": defect(
        "alarms.sources alarms.watched-nodes",
        put(ALARM, NODE_ALARM, "dimensions", {"ReplicationGroupId": "celery-fleet-prod"}),
    ),
    "node id without its zeros": defect(
        "alarms.sources alarms.watched-nodes",
        put(ALARM, NODE_ALARM, "dimensions", {"CacheClusterId": "celery-fleet-prod-1-1"}),
    ),
    "a shard that no alarm watches": defect("alarms.watched-nodes", drop(ALARM, "redis-0003-002-lag")),
    "another database than 0": defect(
        "elasticache.one-database", variable("celery", "SHOP_CACHE", "rediss://cache.example.org:6379/1")
    ),
}
