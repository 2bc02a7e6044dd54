"""Alarms and dashboards look at what exists, and everything that must be watched is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any, Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import ALARM, GROUP, POLICY, SERVICE, Reading, alarm_readings, nodes, queues, readings
from scripts.render import Render, Resource
from service import fleet

BOARD: Final = "cloudwatch/dashboard:Dashboard"
TOPIC: Final = "sns/topic:Topic"
_DAY: Final = 86400
_PUBLISHED: Final = {
    value for name, value in vars(fleet).items() if name.startswith("METRIC_") and isinstance(value, str)
}

#: What an alarm exists for, by queue, by service and by Redis node.
_OF_A_QUEUE: Final = (
    *(fleet.METRIC_DEPTH, fleet.METRIC_OLDEST_AGE, fleet.METRIC_DEAD, fleet.METRIC_LETTERS),
    *(fleet.METRIC_DONE, fleet.METRIC_FAILED),
)
_OF_A_SERVICE: Final = ("RunningTaskCount", "MemoryUtilization", "CPUUtilization")
_OF_A_NODE: Final = (
    *("DatabaseMemoryUsagePercentage", "EngineCPUUtilization", "Evictions", "CurrConnections", "ReplicationLag"),
)


def _periods(render: Render) -> Iterator[Problem]:
    """10, 20, 30 s for own metrics of high resolution, else multiples of a minute; at most a day is looked at."""
    for alarm in render.of_type(ALARM):
        points = alarm.inputs.get("evaluationPeriods", 1)
        if alarm.inputs.get("datapointsToAlarm", points) > points:
            yield at(alarm, "datapointsToAlarm", f"more than {points} points")
        for reading in alarm_readings(alarm):
            period = reading.period
            if period is None:
                yield at(alarm, reading.path, "has no period")
            elif period % 60 != 0 and (period not in (10, 20, 30) or reading.namespace != fleet.METRIC_NAMESPACE):
                yield at(alarm, "period", f"{period} s is no period of {reading.namespace}")
            elif period * points > (_DAY if period < 3600 else 7 * _DAY):
                yield at(alarm, "evaluationPeriods", f"{period * points} s is longer than CloudWatch looks")
        queries = alarm.inputs.get("metricQueries", [])
        if queries and sum(bool(query.get("returnData")) for query in queries) != 1:
            yield at(alarm, "metricQueries", "exactly one of them returns data")


def _sources(render: Render) -> Iterator[Problem]:
    """Every metric that something reads is published for something that exists."""
    known = _Known(render)
    for reading in readings(render):
        if problem := known.problem(reading):
            yield at(reading.owner, reading.path, problem)


class _Known:
    """What metrics can be about in one stack."""

    def __init__(self, render: Render) -> None:
        services = render.of_type(SERVICE)
        self._stack = render.stack
        self._queues = set(queues(render))
        self._values = {
            "ClusterName": {cluster.inputs["name"] for cluster in render.of_type("ecs/cluster:Cluster")},
            "ServiceName": {service.inputs["name"] for service in services},
            "CacheClusterId": {node for group in render.of_type(GROUP) for node in nodes(group)},
            "TableName": {table.inputs["name"] for table in render.of_type("dynamodb/table:Table")},
            "TopicName": {topic.inputs["name"] for topic in render.of_type(TOPIC)},
            "RuleName": {rule.inputs["name"] for rule in render.of_type("cloudwatch/eventRule:EventRule")},
            "NatGatewayId": {f"{gateway.name}-id" for gateway in render.of_type("ec2/natGateway:NatGateway")},
            "BucketName": {bucket.inputs["bucket"] for bucket in render.of_type("s3/bucket:Bucket")},
        }
        self._namespaces = {
            "AWS/ECS": ({"ClusterName", "ServiceName"}, {"ClusterName"}),
            "ECS/ContainerInsights": ({"ClusterName", "ServiceName"}, {"ClusterName"}),
            "AWS/ElastiCache": ({"CacheClusterId"},),
            "AWS/DynamoDB": ({"TableName"},),
            "AWS/SNS": ({"TopicName"},),
            "AWS/Events": ({"RuleName"},),
            "AWS/NATGateway": ({"NatGatewayId"},),
        }

    def problem(self, reading: Reading) -> str | None:
        """Say what is wrong with `reading`."""
        names = set(reading.dimensions)
        if reading.namespace == fleet.METRIC_NAMESPACE:
            return self._own(reading)
        if reading.namespace not in self._namespaces:
            return f"nobody checks what {reading.namespace} knows: add it to scripts/checks/alarms.py"
        if names not in self._namespaces[reading.namespace]:
            return f"{reading.namespace} has no metrics by {', '.join(sorted(names)) or 'nothing'}"
        for name, value in reading.dimensions.items():
            if value not in self._values[name]:
                return f"there is no {name} {value}"
        return None

    def _own(self, reading: Reading) -> str | None:
        if reading.name not in _PUBLISHED:
            return f"nobody publishes {reading.name}"
        dimensions = dict(reading.dimensions)
        if dimensions.pop(fleet.DIMENSION_STACK, None) != self._stack:
            return f"{fleet.DIMENSION_STACK} is not {self._stack}"
        queue = dimensions.pop(fleet.DIMENSION_QUEUE, None)
        if queue is not None and queue not in self._queues:
            return f"there is no queue {queue}"
        if dimensions:
            return f"nobody publishes the dimension {', '.join(dimensions)}"
        return None


def _watched_queues(render: Render) -> Iterator[Problem]:
    """Every queue and the service of its workers has all of its alarms."""
    seen = _seen(render)
    for queue, service in queues(render).items():
        wanted = [(metric, queue) for metric in _OF_A_QUEUE]
        wanted += [(metric, service.inputs["name"]) for metric in _OF_A_SERVICE]
        for metric, of in wanted:
            if (metric, of) not in seen:
                yield at(service, "", f"no alarm looks at {metric} of {of}")


def _watched_nodes(render: Render) -> Iterator[Problem]:
    """Every Redis node has all of its alarms: there are no metrics of the group."""
    seen = _seen(render)
    for group in render.of_type(GROUP):
        for node, metric in product(nodes(group), _OF_A_NODE):
            if (metric, node) not in seen:
                yield at(group, "", f"no alarm looks at {metric} of {node}")


def _seen(render: Render) -> set[tuple[str, str]]:
    """Return (metric, value of one of its dimensions) for everything that an alarm reads which tells people."""
    return {
        (reading.name, value)
        for alarm in render.of_type(ALARM)
        if _tells(alarm)
        for reading in alarm_readings(alarm)
        for value in reading.dimensions.values()
    }


def _silence(render: Render) -> Iterator[Problem]:
    """Somebody hears when the publisher is silent or a queue has no worker; nobody else is woken by missing data."""
    silent = [
        alarm
        for alarm in render.of_type(ALARM)
        if alarm.inputs.get("statistic") == "SampleCount" and alarm.inputs.get("namespace") == fleet.METRIC_NAMESPACE
    ]
    if not silent:
        yield Problem("alarms", "none says that the publisher is silent")
    for alarm in render.of_type(ALARM):
        counts = alarm in silent or alarm.inputs.get("metricName") == "RunningTaskCount"
        missing = alarm.inputs.get("treatMissingData", "missing")
        if counts and missing != "breaching":
            yield at(alarm, "treatMissingData", f"{missing}: nothing is what it must tell of")
        elif not counts and missing == "breaching":
            yield at(alarm, "treatMissingData", "breaching: it fires when the publisher is silent")


def _actions(render: Render) -> Iterator[Problem]:
    """An alarm tells people or scales, and has a description."""
    scaling = {policy.urn for policy in render.of_type(POLICY)}
    for alarm in render.of_type(ALARM):
        if not _tells(alarm) and not scaling & set(alarm.property_dependencies.get("alarmActions", [])):
            yield at(alarm, "alarmActions", "nothing happens")
        if alarm.inputs.get("actionsEnabled") is False:
            yield at(alarm, "actionsEnabled", "nothing happens")
        if not alarm.inputs.get("alarmDescription"):
            yield at(alarm, "alarmDescription", "says nothing to whoever is on call")


def _tells(alarm: Resource) -> bool:
    """Say whether an alarm writes to a topic, of this stack or one that existed before."""
    return any(":sns:" in action for action in alarm.inputs.get("alarmActions", []))


def _events(render: Render) -> Iterator[Problem]:
    """Event patterns are of this cluster, and what they find arrives."""
    targets = {target.inputs["rule"]: target for target in render.of_type("cloudwatch/eventTarget:EventTarget")}
    for rule in render.of_type("cloudwatch/eventRule:EventRule"):
        pattern = json.loads(rule.inputs.get("eventPattern", "{}"))
        if pattern.get("source") == ["aws.ecs"] and not _of_this_cluster(render, pattern):
            yield at(rule, "eventPattern", "hears of other clusters, too")
        target = targets.get(rule.inputs["name"])
        if target is None:
            yield at(rule, "", "has no target")
            continue
        transformer = target.inputs.get("inputTransformer", {})
        for key in transformer.get("inputPaths", {}):
            if f"<{key}>" not in transformer["inputTemplate"]:
                yield at(target, "inputTemplate", f"does not use {key}")


def _of_this_cluster(render: Render, pattern: dict[str, Any]) -> bool:
    names = [cluster.inputs["name"] for cluster in render.of_type("ecs/cluster:Cluster")]
    text = json.dumps(pattern)
    return any(f"cluster/{name}" in text or f"service/{name}/" in text for name in names)


def _dashboard(render: Render) -> Iterator[Problem]:
    """Widgets stand on the grid beside each other; every queue and node is shown."""
    for board in render.of_type(BOARD):
        widgets = json.loads(board.inputs["dashboardBody"])["widgets"]
        for index, widget in enumerate(widgets):
            if widget["x"] + widget["width"] > 24 or min(widget["width"], widget["height"]) < 1:
                yield at(board, f"widgets[{index}]", "stands beyond the 24 columns")
            if len(widget["properties"].get("metrics", [])) > 500:
                yield at(board, f"widgets[{index}]", "shows more than 500 metrics")
        for (left, one), (right, two) in combinations(enumerate(widgets), 2):
            if _overlap(one, two):
                yield at(board, f"widgets[{right}]", f"covers widgets[{left}]")
        yield from _shown(render, board)


def _overlap(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return all(
        one[start] < two[start] + two[size] and two[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


def _shown(render: Render, board: Resource) -> Iterator[Problem]:
    shown = {
        (reading.name, value)
        for reading in readings(render)
        if reading.owner is board
        for value in reading.dimensions.values()
    }
    for queue in queues(render):
        if (fleet.METRIC_DEPTH, queue) not in shown:
            yield at(board, "dashboardBody", f"does not show the depth of {queue}")
    for group in render.of_type(GROUP):
        for node in nodes(group):
            if ("EngineCPUUtilization", node) not in shown:
                yield at(board, "dashboardBody", f"does not show the engine's cpu of {node}")


CHECKS: Final[Checks] = {
    "alarms.periods": _periods,
    "alarms.sources": _sources,
    "alarms.watched-queues": _watched_queues,
    "alarms.watched-nodes": _watched_nodes,
    "alarms.silence": _silence,
    "alarms.actions": _actions,
    "alarms.events": _events,
    "alarms.dashboard": _dashboard,
}
