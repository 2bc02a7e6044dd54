"""What the render says about the broker and those who use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.render import Render
from scripts.render.render import Resource
from scripts.render.services import services


@dataclass(frozen=True)
class Broker:
    """A Redis cluster.

    Attributes:
        node_type: ElastiCache node type.
        shards: Primaries.
        replicas: Of each.
        tls: Whether clients use TLS.
        cpu_alarm: Share of the engine's thread above which people are told, 0 to 1.
        memory_alarm: Share of the memory for data, the same.
    """

    node_type: str
    shards: int
    replicas: int
    tls: bool
    cpu_alarm: float
    memory_alarm: float


@dataclass(frozen=True)
class Workers:
    """The workers of one queue.

    Attributes:
        queue: Its name.
        most: ECS tasks at full scale-out.
        processes: Celery tasks at a time in each.
        rolling: Percent of the ECS tasks that may run while a new version is rolled out.
    """

    queue: str
    most: int
    processes: int
    rolling: int


@dataclass(frozen=True)
class Stack:
    """All of it.

    Attributes:
        name: The stack's.
        broker: The Redis cluster of the queues.
        workers: By queue.
        expires: Seconds until a result is forgotten.
        own: The results' own cluster; None if they are kept beside the queues.
    """

    name: str
    broker: Broker
    workers: tuple[Workers, ...]
    expires: int
    own: Broker | None = None

    @property
    def results(self) -> Broker:
        """The cluster that keeps the results."""
        return self.own or self.broker


def read(render: Render) -> Stack:
    """Take from a render what capacity depends on."""
    groups = {group.name: group for group in render.of_type("elasticache/replicationGroup:ReplicationGroup")}
    found = services(render)
    return Stack(
        name=render.stack,
        broker=_cluster(render, groups["redis"]),
        workers=tuple(_workers(render)),
        expires=next(int(service.environment["FLEET_RESULT_EXPIRES"]) for service in found if service.queue),
        own=_cluster(render, groups["redis-results"]) if "redis-results" in groups else None,
    )


def _cluster(render: Render, group: Resource) -> Broker:
    redis = group.inputs
    return Broker(
        node_type=redis["nodeType"],
        shards=redis["numNodeGroups"],
        replicas=redis["replicasPerNodeGroup"],
        tls=redis["transitEncryptionEnabled"],
        cpu_alarm=_threshold(render, redis["replicationGroupId"], "EngineCPUUtilization"),
        memory_alarm=_threshold(render, redis["replicationGroupId"], "DatabaseMemoryUsagePercentage"),
    )


def _workers(render: Render) -> Iterator[Workers]:
    most = {
        target.inputs["resourceId"].rpartition("/")[2]: target.inputs["maxCapacity"]
        for target in render.of_type("appautoscaling/target:Target")
    }
    for action in render.of_type("appautoscaling/scheduledAction:ScheduledAction"):
        service = action.inputs["resourceId"].rpartition("/")[2]
        most[service] = max(most[service], action.inputs["scalableTargetAction"]["maxCapacity"])
    rolling = {
        service.inputs["name"]: service.inputs["deploymentMaximumPercent"]
        for service in render.of_type("ecs/service:Service")
    }
    for ecs in services(render):
        if ecs.queue:
            yield Workers(
                queue=ecs.queue,
                # A service that does not scale has as many as it starts with.
                most=most.get(ecs.name, ecs.desired_count),
                processes=int(ecs.environment["FLEET_CONCURRENCY"]),
                rolling=rolling[ecs.name],
            )


def _threshold(render: Render, group: str, metric: str) -> float:
    """The lowest threshold of a metric's alarms on the nodes of a cluster, as a share."""
    alarms = (alarm.inputs for alarm in render.of_type("cloudwatch/metricAlarm:MetricAlarm"))
    return (
        float(
            min(
                alarm["threshold"]
                for alarm in alarms
                # A node's id is the group's, its shard's number and its own.
                if alarm.get("metricName") == metric
                and alarm["dimensions"]["CacheClusterId"].rsplit("-", 2)[0] == group
            )
        )
        / 100
    )
