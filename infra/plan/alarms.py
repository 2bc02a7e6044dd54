"""Which alarms the stack has: tables of thresholds, without AWS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from infra.plan.names import Names
from service.fleet import (
    DEFAULT_QUEUE,
    DIMENSION_QUEUE,
    DIMENSION_STACK,
    METRIC_BEAT_AGE,
    METRIC_DEAD,
    METRIC_DEPTH,
    METRIC_DONE,
    METRIC_FAILED,
    METRIC_LETTERS,
    METRIC_NAMESPACE,
    METRIC_OLDEST_AGE,
    METRIC_SCHEDULE_LATE,
    Pool,
)

Missing = Literal["breaching", "notBreaching", "ignore", "missing"]
ABOVE: Final = "GreaterThanThreshold"
BELOW: Final = "LessThanThreshold"
#: Percent of its cpu at which a worker counts as busy.
_BUSY: Final = 95
#: Pools that run all tasks in one process: Python lets one of its threads compute at a time.
_ONE_PROCESS: Final[tuple[Pool, ...]] = ("gevent", "eventlet", "threads", "solo")
#: Fewest ended messages within five minutes of which a share is said to have failed: one of one is no rate.
MIN_ENDED: Final = 10


@dataclass(frozen=True)
class Metric:
    """A CloudWatch metric.

    Attributes:
        namespace: Who publishes it.
        name: Its name.
        dimensions: Which of them.
        statistic: How the values of a period become one. Maximum makes it harmless that two publishers overlap.
    """

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Maximum"


@dataclass(frozen=True)
class Formula:
    """Metric math.

    Attributes:
        expression: What is watched, in terms of the ids.
        label: What it is, for people.
        sources: Id -> metric.
    """

    expression: str
    label: str
    sources: Mapping[str, Metric]


@dataclass(frozen=True)
class Alarm:
    """One alarm on one metric, or on a formula of several.

    Attributes:
        name: Part of the alarm's name behind the stack's prefix.
        description: What it means and what to do.
        metric: What it watches.
        threshold: In the metric's unit.
        comparison: `ABOVE` or `BELOW`.
        period: Seconds of one data point.
        points: Data points that are looked at.
        breaching: How many of them must breach; all unless given.
        missing: What a missing data point counts as.
        queue: For the Queue tag.
    """

    name: str
    description: str
    metric: Metric | Formula
    threshold: float
    comparison: str = ABOVE
    period: int = 60
    points: int = 3
    breaching: int | None = None
    missing: Missing = "notBreaching"
    queue: str | None = None


def queue_metric(stack: str, queue: str, name: str) -> Metric:
    """Return a metric of `queue` as the monitor service publishes it."""
    return Metric(METRIC_NAMESPACE, name, {DIMENSION_STACK: stack, DIMENSION_QUEUE: queue})


def beat_metric(stack: str, name: str) -> Metric:
    """Return a metric of the beat as the monitor service publishes it."""
    return Metric(METRIC_NAMESPACE, name, {DIMENSION_STACK: stack})


def running_tasks(cluster: str, service: str, statistic: str = "Maximum") -> Metric:
    """Return the number of a service's running tasks (Container Insights, every minute)."""
    return Metric(
        "ECS/ContainerInsights",
        "RunningTaskCount",
        {"ClusterName": cluster, "ServiceName": service},
        statistic,
    )


def service_usage(cluster: str, service: str, name: str) -> Metric:
    """Return a service's CPUUtilization or MemoryUtilization in percent of the task's size."""
    return Metric("AWS/ECS", name, {"ClusterName": cluster, "ServiceName": service})


def deployment_alarms(stack: str, queue: str, part: str, usage: Metric, memory_percent: int, age: int) -> list[Alarm]:
    """Return the alarms that roll a worker's deployment back.

    Args:
        stack: The stack's name.
        queue: The queue's name.
        part: The service's part of a name.
        usage: MemoryUtilization of the service.
        memory_percent: Percent of the task's memory at which the container's limit is close.
        age: Seconds.
    """
    return [
        Alarm(
            f"{part}-memory",
            "Workers come close to their memory limit; above it the container is killed with exit code 137.",
            usage,
            memory_percent,
            queue=queue,
        ),
        Alarm(
            f"{part}-age",
            f"The oldest ready message of {queue} has waited {age} s; see whether its workers run and scale.",
            queue_metric(stack, queue, METRIC_OLDEST_AGE),
            age,
            queue=queue,
        ),
    ]


def failure_rate(stack: str, queue: str) -> Formula:
    """Return the share of a queue's messages that failed for good, in percent; 0 while hardly any end."""

    def total(name: str) -> Metric:
        return replace(queue_metric(stack, queue, name), statistic="Sum")

    return Formula(
        f"IF(failed + done >= {MIN_ENDED}, 100 * failed / (failed + done), 0)",
        "Failed for good (%)",
        {"failed": total(METRIC_FAILED), "done": total(METRIC_DONE)},
    )


def busy_percent(pool: Pool, cpu: int) -> float:
    """Return the percent of its cpu units at which a worker can do no more: one process uses one core."""
    cores = cpu / 1024
    return _BUSY / max(1.0, cores) if pool in _ONE_PROCESS else _BUSY


def queue_alarms(
    stack: str, cluster: str, service: str, queue: str, part: str, depth: int, failures: int, cpu_percent: float
) -> list[Alarm]:
    """Return the alarms about a queue and its workers that only tell people.

    Args:
        stack: The stack's name.
        cluster: ECS cluster's name.
        service: ECS service's name.
        queue: The queue's name.
        part: The service's part of a name.
        depth: Runnable messages.
        failures: Percent of ended messages.
        cpu_percent: Of the task's size; see `busy_percent`.
    """
    return [
        Alarm(
            f"{part}-deep",
            f"{queue} holds more than {depth} runnable messages; its workers are at their maximum or fail.",
            queue_metric(stack, queue, METRIC_DEPTH),
            depth,
            points=5,
            queue=queue,
        ),
        Alarm(
            f"{part}-failures",
            f"More than {failures} % of what {queue} ended failed for good; see its dead letters and its log.",
            failure_rate(stack, queue),
            failures,
            period=300,
            points=1,
            queue=queue,
        ),
        Alarm(
            f"{part}-letters",
            f"{queue} has dead letters; list them, then replay or discard them: python -m service.deadletters.",
            queue_metric(stack, queue, METRIC_LETTERS),
            0,
            points=1,
            queue=queue,
        ),
        Alarm(
            f"{part}-dead",
            f"Dead messages of {queue} stay in Redis; the dead_letter service cannot store them: see its log.",
            queue_metric(stack, queue, METRIC_DEAD),
            0,
            period=300,
            queue=queue,
        ),
        Alarm(
            f"{part}-no-worker",
            f"No task works on {queue}.",
            running_tasks(cluster, service),
            1,
            BELOW,
            missing="breaching",
            queue=queue,
        ),
        Alarm(
            f"{part}-cpu",
            f"Workers of {queue} use all the cpu they can for a quarter of an hour; raise max, or (prefork) cpu.",
            service_usage(cluster, service, "CPUUtilization"),
            cpu_percent,
            period=300,
            queue=queue,
        ),
    ]


def publisher_alarm(stack: str) -> Alarm:
    """Return the alarm that the monitor is silent: nothing scales on queue depth meanwhile."""
    metric = queue_metric(stack, DEFAULT_QUEUE, METRIC_DEPTH)
    return Alarm(
        "publisher-silent",
        "The monitor service publishes no queue metrics: queues neither scale nor alarm. See its log.",
        Metric(metric.namespace, metric.name, metric.dimensions, "SampleCount"),
        1,
        BELOW,
        missing="breaching",
    )


def event_alarms(names: Names, limit: int) -> list[Alarm]:
    """Return the alarms that something which is told one by one has become many.

    Args:
        names: Of the stack, whose rules are called after them.
        limit: How often in a quarter of an hour.
    """
    return [
        Alarm(
            f"{part}-often",
            f"{text} more than {limit} times in a quarter of an hour; see the mails before and the workers' logs.",
            Metric("AWS/Events", "TriggeredRules", {"RuleName": names.of(part)}, "Sum"),
            limit,
            period=900,
            points=1,
        )
        for part, text in (
            ("worker-died", "Workers ended by themselves or did not start"),
            ("worker-unhealthy", "Workers failed their health check and were replaced"),
            ("worker-killed", "Containers were killed (137), out of memory or at the stop timeout,"),
        )
    ]


def beat_alarms(stack: str, usage: Metric, memory_percent: int) -> list[Alarm]:
    """Return the alarms that guard the beat; they roll its deployments back, too.

    Args:
        stack: The stack's name.
        usage: MemoryUtilization of the service.
        memory_percent: Percent of the task's memory at which the container's limit is close.
    """
    return [
        Alarm(
            "beat-memory",
            "A beat comes close to its memory limit, which its task modules need; raise beat.memory.",
            usage,
            memory_percent,
        ),
        Alarm(
            "beat-silent",
            "No beat leads, so no periodic task starts; see the log of the service beat and docs/periodic-tasks.md.",
            beat_metric(stack, METRIC_BEAT_AGE),
            60,
            points=2,
            # A monitor that starts anew says nothing for ten minutes where no beat leads: it is not over then.
            missing="ignore",
        ),
        Alarm(
            "beat-late",
            "A periodic task is overdue by a minute; the log of the service beat says which, and why.",
            beat_metric(stack, METRIC_SCHEDULE_LATE),
            60,
        ),
    ]


def redis_alarms(
    part: str, nodes: Sequence[str], memory_percent: int, cpu_percent: int, max_clients: int
) -> list[Alarm]:
    """Return the alarms of every node of a Redis cluster; ElastiCache has no metrics of the whole group.

    Args:
        part: What the cluster is called in names.
        nodes: Its node ids.
        memory_percent: Of a node's memory.
        cpu_percent: Of a node's engine thread.
        max_clients: Connections that a node accepts.
    """
    table = (
        (
            "memory",
            "DatabaseMemoryUsagePercentage",
            memory_percent,
            "nothing is evicted, a full node refuses messages or results",
        ),
        ("cpu", "EngineCPUUtilization", cpu_percent, "the one engine thread is busy; add shards"),
        ("evictions", "Evictions", 0, "the eviction policy is not noeviction any more and work gets lost"),
        (
            "connections",
            "CurrConnections",
            max_clients * 3 // 4,
            f"it accepts {max_clients}; look for clients that leak connections",
        ),
        ("lag", "ReplicationLag", 10, "seconds that a failover would lose"),
    )
    return [
        Alarm(
            f"{node_part}-{kind}",
            f"Redis node {node}: {metric} above {threshold}: {meaning}.",
            Metric("AWS/ElastiCache", metric, {"CacheClusterId": node}),
            threshold,
            points=5,
        )
        for node in nodes
        for node_part in [f"{part}-{node[-8:]}"]
        for kind, metric, threshold, meaning in table
    ]
