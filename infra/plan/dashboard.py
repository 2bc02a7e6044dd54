"""The dashboard's body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from infra.plan.alarms import Metric, beat_metric, queue_metric, running_tasks, service_usage
from service.fleet import (
    METRIC_BEAT_AGE,
    METRIC_DEAD,
    METRIC_DELAYED,
    METRIC_DEPTH,
    METRIC_DONE,
    METRIC_FAILED,
    METRIC_LEASED,
    METRIC_LETTERS,
    METRIC_OLDEST_AGE,
    METRIC_SCHEDULE_LATE,
)

_COLUMNS: Final = 3
_WIDTH: Final = 24 // _COLUMNS
_HEIGHT: Final = 6


def dashboard(
    stack: str,
    region: str,
    cluster: str,
    services: Mapping[str, str],
    monitor: str,
    nodes: Mapping[str, str],
    beat: str | None = None,
) -> dict[str, Any]:
    """Return the body as CloudWatch wants it.

    Args:
        stack: The stack's name.
        region: Region of the metrics.
        cluster: ECS cluster's name.
        services: Queue -> ECS service.
        monitor: The monitor's ECS service.
        nodes: What a Redis node is called there -> its id.
        beat: The beat's ECS service, if there is one.
    """

    def queues(name: str, statistic: str = "Maximum") -> dict[str, Metric]:
        return {queue: replace(queue_metric(stack, queue, name), statistic=statistic) for queue in services}

    def tasks(name: str, namespace: str = "ECS/ContainerInsights") -> dict[str, Metric]:
        named = {**services, "monitor": monitor, **({"beat": beat} if beat else {})}
        return {
            label: Metric(namespace, name, {"ClusterName": cluster, "ServiceName": service})
            for label, service in named.items()
        }

    def redis(name: str, statistic: str = "Maximum") -> dict[str, Metric]:
        return {
            label: Metric("AWS/ElastiCache", name, {"CacheClusterId": node}, statistic) for label, node in nodes.items()
        }

    periodic = [
        ("Latest tick late by (s)", {"late": beat_metric(stack, METRIC_SCHEDULE_LATE)}),
        ("Last sign of a leader (s)", {"age": beat_metric(stack, METRIC_BEAT_AGE)}),
    ]
    sections: dict[str, list[tuple[str, dict[str, Metric]]]] = {
        "Queues": [
            ("Runnable messages", queues(METRIC_DEPTH)),
            ("Oldest message (s)", queues(METRIC_OLDEST_AGE)),
            ("Delayed messages", queues(METRIC_DELAYED)),
            ("Done", queues(METRIC_DONE, "Sum")),
            ("Failed for good", queues(METRIC_FAILED, "Sum")),
            ("Dead letters", queues(METRIC_LETTERS)),
            ("Dead letters not stored yet", queues(METRIC_DEAD)),
        ],
        "Tasks and workers": [
            ("Tasks in hand", queues(METRIC_LEASED)),
            ("Workers", {queue: running_tasks(cluster, service) for queue, service in services.items()}),
            ("CPU (%)", {q: service_usage(cluster, s, "CPUUtilization") for q, s in services.items()}),
            ("Memory (%)", {q: service_usage(cluster, s, "MemoryUtilization") for q, s in services.items()}),
        ],
        **({"Periodic tasks": periodic} if beat else {}),
        "Redis": [
            ("Memory (%)", redis("DatabaseMemoryUsagePercentage")),
            ("Engine CPU (%)", redis("EngineCPUUtilization")),
            ("Connections", redis("CurrConnections")),
            ("Replication lag (s)", redis("ReplicationLag")),
            ("Evictions", redis("Evictions", "Sum")),
        ],
        "Deployments": [
            ("Deployments under way", tasks("DeploymentCount")),
            ("Wanted tasks", tasks("DesiredTaskCount")),
            ("Pending tasks", tasks("PendingTaskCount")),
        ],
        "Cost drivers": [
            ("vCPU units reserved", tasks("CpuReserved")),
            ("Memory reserved (MiB)", tasks("MemoryReserved")),
            ("Bytes from Redis", redis("NetworkBytesOut", "Sum")),
        ],
    }
    widgets: list[dict[str, Any]] = []
    top = 0
    for title, graphs in sections.items():
        widgets.append(_heading(title, top))
        top += 1
        for index, (name, metrics) in enumerate(graphs):
            row, column = divmod(index, _COLUMNS)
            widgets.append(_graph(name, metrics, region, column * _WIDTH, top + row * _HEIGHT))
        top += -(-len(graphs) // _COLUMNS) * _HEIGHT
    return {"widgets": widgets}


def _heading(title: str, y: int) -> dict[str, Any]:
    return {"type": "text", "x": 0, "y": y, "width": 24, "height": 1, "properties": {"markdown": f"## {title}"}}


def _graph(title: str, metrics: Mapping[str, Metric], region: str, x: int, y: int) -> dict[str, Any]:
    return {
        "type": "metric",
        "x": x,
        "y": y,
        "width": _WIDTH,
        "height": _HEIGHT,
        "properties": {
            "title": title,
            "region": region,
            "view": "timeSeries",
            "period": 60,
            "metrics": [
                [
                    metric.namespace,
                    metric.name,
                    *(text for pair in metric.dimensions.items() for text in pair),
                    {"label": label, "stat": metric.statistic},
                ]
                for label, metric in metrics.items()
            ],
        },
    }
