"""What the render says about the broker and those who use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.render import Render
from scripts.render.services import services


@dataclass(frozen=True)
class Broker:
    """The Redis cluster.

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
        broker: The Redis cluster.
        workers: By queue.
        expires: Seconds until a result is forgotten.
    """

    name: str
    broker: Broker
    workers: tuple[Workers, ...]
    expires: int


def read(render: Render) -> Stack:
    """Take from a render what capacity depends on."""
    redis = render.one("elasticache/replicationGroup:ReplicationGroup").inputs
    found = services(render)
    return Stack(
        name=render.stack,
        broker=Broker(
            node_type=redis["nodeType"],
            shards=redis["numNodeGroups"],
            replicas=redis["replicasPerNodeGroup"],
            tls=redis["transitEncryptionEnabled"],
            cpu_alarm=_threshold(render, "EngineCPUUtilization"),
            memory_alarm=_threshold(render, "DatabaseMemoryUsagePercentage"),
        ),
        workers=tuple(_workers(render)),
        expires=next(int(service.environment["FLEET_RESULT_EXPIRES"]) for service in found if service.queue),
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


def _threshold(render: Render, metric: str) -> float:
    alarms = render.of_type("cloudwatch/metricAlarm:MetricAlarm")
    return float(min(alarm.inputs["threshold"] for alarm in alarms if alarm.inputs.get("metricName") == metric)) / 100
