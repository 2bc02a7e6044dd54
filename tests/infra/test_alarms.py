"""Alarms, events and dashboard: each looks at something that exists."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from scripts.checks.aws_model import problems

from infra.plan.names import redis_nodes
from scripts.render import Render
from scripts.render.services import services
from service import fleet

PUBLISHED = {value for name, value in vars(fleet).items() if name.startswith("METRIC_") and isinstance(value, str)}


def sources(render: Render) -> list[tuple[str, dict[str, Any]]]:
    """Return alarm -> each metric that it reads."""
    found = []
    for alarm in render.of_type("metricAlarm:MetricAlarm"):
        queries = alarm.inputs.get("metricQueries")
        metrics = [query["metric"] for query in queries if "metric" in query] if queries else [alarm.inputs]
        found += [(alarm.name, metric) for metric in metrics]
    return found


def test_every_alarm_reads_a_metric_of_this_stack(stack: Render) -> None:
    queues = {service.queue for service in services(stack)} - {None}
    names = {service.name for service in services(stack)}
    group = stack.one("ReplicationGroup").inputs
    nodes = redis_nodes(group["replicationGroupId"], group["numNodeGroups"], group["replicasPerNodeGroup"])
    for alarm, metric in sources(stack):
        dimensions = metric["dimensions"]
        match metric["namespace"]:
            case fleet.METRIC_NAMESPACE:
                assert metric["metricName"] in PUBLISHED, alarm
                assert set(dimensions) == {fleet.DIMENSION_STACK, fleet.DIMENSION_QUEUE}
                assert dimensions[fleet.DIMENSION_STACK] == stack.stack
                assert dimensions[fleet.DIMENSION_QUEUE] in queues
            case "AWS/ECS" | "ECS/ContainerInsights":
                assert dimensions["ClusterName"] == stack.one("ecs/cluster:Cluster").inputs["name"]
                assert dimensions["ServiceName"] in names
            case "AWS/ElastiCache":
                assert dimensions["CacheClusterId"] in nodes
            case "AWS/Events":
                assert dimensions["RuleName"] in {rule.inputs["name"] for rule in stack.of_type("EventRule")}
            case other:
                raise AssertionError(f"{alarm} reads {other}")


def test_what_must_be_watched_is_watched(stack: Render) -> None:
    watched = {(metric["metricName"], *sorted(metric["dimensions"].values())) for _, metric in sources(stack)}
    for service in services(stack):
        if service.queue:
            for name in (
                *(fleet.METRIC_DEPTH, fleet.METRIC_OLDEST_AGE, fleet.METRIC_DEAD, fleet.METRIC_LETTERS),
                *(fleet.METRIC_DONE, fleet.METRIC_FAILED),
            ):
                assert (name, *sorted((stack.stack, service.queue))) in watched
            for name in ("RunningTaskCount", "MemoryUtilization", "CPUUtilization"):
                assert (name, f"celery-fleet-{stack.stack}", service.name) in watched
    group = stack.one("ReplicationGroup").inputs
    for node in redis_nodes(group["replicationGroupId"], 3, 1):
        for name in (
            "DatabaseMemoryUsagePercentage",
            "EngineCPUUtilization",
            "Evictions",
            "CurrConnections",
            "ReplicationLag",
        ):
            assert (name, node) in watched


def test_a_share_of_failures_is_an_alarm_and_one_of_one_is_none(stack: Render) -> None:
    alarm = stack.one("MetricAlarm", "celery-failures").inputs
    (formula,) = (query for query in alarm["metricQueries"] if query["returnData"])
    assert formula["expression"] == "IF(failed + done >= 10, 100 * failed / (failed + done), 0)"
    sums = {q["id"]: q["metric"] for q in alarm["metricQueries"] if "metric" in q}
    assert {key: metric["metricName"] for key, metric in sums.items()} == {"failed": "QueueFailed", "done": "QueueDone"}
    assert {(metric["stat"], metric["period"]) for metric in sums.values()} == {("Sum", 300)}
    assert (alarm["threshold"], alarm["comparisonOperator"]) == (10, "GreaterThanThreshold")


def test_many_restarts_are_an_alarm_beside_the_mail_for_each(stack: Render) -> None:
    for part in ("worker-died", "worker-killed"):
        alarm = stack.one("MetricAlarm", f"{part}-often").inputs
        assert (alarm["metricName"], alarm["statistic"], alarm["period"]) == ("TriggeredRules", "Sum", 900)
        assert alarm["threshold"] == 5


def test_a_silent_publisher_is_an_alarm(stack: Render) -> None:
    alarm = stack.one("MetricAlarm", "publisher-silent").inputs
    assert alarm["statistic"] == "SampleCount"
    assert alarm["comparisonOperator"] == "LessThanThreshold"
    assert alarm["treatMissingData"] == "breaching"


def test_every_alarm_does_something(stack: Render) -> None:
    topic = stack.one("sns/topic:Topic")
    policies = {policy.urn for policy in stack.of_type("appautoscaling/policy:Policy")}
    for alarm in stack.of_type("metricAlarm:MetricAlarm"):
        actions = set(alarm.property_dependencies["alarmActions"])
        told = stack.one("TopicPolicy").urn in actions and topic.urn
        assert told or actions <= policies, alarm.name


def test_periods_are_those_that_cloudwatch_has(stack: Render) -> None:
    for alarm in stack.of_type("metricAlarm:MetricAlarm"):
        periods = [q["metric"]["period"] for q in alarm.inputs.get("metricQueries", []) if "metric" in q]
        for period in periods or [alarm.inputs["period"]]:
            custom = alarm.inputs.get("namespace") == fleet.METRIC_NAMESPACE
            assert period % 60 == 0 or (period in (10, 20, 30) and custom)
            assert period * alarm.inputs["evaluationPeriods"] <= 86400


def test_the_api_accepts_the_alarms(stack: Render) -> None:
    for alarm in stack.of_type("metricAlarm:MetricAlarm"):
        given = alarm.inputs
        params: dict[str, Any] = {
            "AlarmName": given["name"],
            "AlarmDescription": given["alarmDescription"],
            "ComparisonOperator": given["comparisonOperator"],
            "EvaluationPeriods": given["evaluationPeriods"],
            "DatapointsToAlarm": given["datapointsToAlarm"],
            "Threshold": given["threshold"],
            "TreatMissingData": given["treatMissingData"],
            "AlarmActions": given["alarmActions"],
            "OKActions": given.get("okActions", []),
        }
        if "metricQueries" in given:
            params["Metrics"] = [_query(query) for query in given["metricQueries"]]
            assert sum(query["returnData"] for query in given["metricQueries"]) == 1
        else:
            params |= {
                "Namespace": given["namespace"],
                "MetricName": given["metricName"],
                "Dimensions": _dimensions(given["dimensions"]),
                "Statistic": given["statistic"],
                "Period": given["period"],
            }
        assert problems("cloudwatch", "PutMetricAlarm", params) == []


def test_alarms_and_events_may_write_to_the_encrypted_topic(stack: Render) -> None:
    writers = {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    (publish,) = json.loads(stack.one("TopicPolicy").inputs["policy"])["Statement"]
    assert set(publish["Principal"]["Service"]) == writers
    key = json.loads(stack.one("kms/key:Key").inputs["policy"])["Statement"]
    grants = [s for s in key if set(s["Principal"].get("Service", "")) == writers]
    assert set(grants[0]["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    assert stack.one("sns/topic:Topic").property_dependencies["kmsMasterKeyId"] == [stack.one("kms/key:Key").urn]


def test_the_log_service_may_use_the_key_for_every_group(stack: Render) -> None:
    (logs,) = (s for s in json.loads(stack.one("kms/key:Key").inputs["policy"])["Statement"] if s["Sid"] == "LogGroups")
    assert logs["Principal"]["Service"] == "logs.eu-central-1.amazonaws.com"
    for group in stack.of_type("logGroup:LogGroup"):
        assert group.inputs["kmsKeyId"]
        assert group.inputs["retentionInDays"] in (14, 365)
        arn = f"arn:aws:logs:eu-central-1:123456789012:log-group:{group.inputs['name']}"
        allowed = logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
        assert any(fnmatchcase(arn, pattern) for pattern in allowed)


def test_events_of_this_cluster_reach_the_topic(stack: Render) -> None:
    rules = {rule.name: json.loads(rule.inputs["eventPattern"]) for rule in stack.of_type("EventRule")}
    assert set(rules) == {"worker-died", "worker-killed", "deployment-failed"}
    assert rules["worker-killed"]["detail"]["containers"] == {"exitCode": [137]}
    for name in ("worker-died", "worker-killed"):
        assert rules[name]["detail"]["clusterArn"] == [
            f"arn:aws:ecs:eu-central-1:123456789012:cluster/celery-fleet-{stack.stack}"
        ]
    for target in stack.of_type("EventTarget"):
        assert target.inputs["arn"].endswith("-alarms")
        template = json.loads(target.inputs["inputTransformer"]["inputTemplate"])
        assert all(f"<{key}>" in template for key in target.inputs["inputTransformer"]["inputPaths"])


def test_the_dashboard_shows_every_queue_and_node_without_overlap(stack: Render) -> None:
    dashboard = stack.one("cloudwatch/dashboard:Dashboard")
    body = json.loads(dashboard.inputs["dashboardBody"])
    api = {"DashboardName": dashboard.inputs["dashboardName"], "DashboardBody": dashboard.inputs["dashboardBody"]}
    assert problems("cloudwatch", "PutDashboard", api) == []
    cells = []
    for widget in body["widgets"]:
        assert widget["x"] + widget["width"] <= 24
        cells.append(
            {
                (x, y)
                for x in range(widget["x"], widget["x"] + widget["width"])
                for y in range(widget["y"], widget["y"] + widget["height"])
            }
        )
    assert not any(left & right for left, right in combinations(cells, 2))
    shown = [
        tuple(metric[:-1]) for w in body["widgets"] if w["type"] == "metric" for metric in w["properties"]["metrics"]
    ]
    for queue in (*fleet.QUEUES, fleet.DEAD_LETTER_QUEUE):
        assert ("CeleryFleet", fleet.METRIC_DEPTH, "Stack", stack.stack, "Queue", queue.name) in shown
    assert sum(metric[1] == "EngineCPUUtilization" for metric in shown) == 6


def _dimensions(mapping: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in mapping.items()]


def _query(query: dict[str, Any]) -> dict[str, Any]:
    if "expression" in query:
        return {
            "Id": query["id"],
            "Expression": query["expression"],
            "Label": query["label"],
            "ReturnData": query["returnData"],
        }
    metric = query["metric"]
    return {
        "Id": query["id"],
        "ReturnData": query["returnData"],
        "MetricStat": {
            "Metric": {
                "Namespace": metric["namespace"],
                "MetricName": metric["metricName"],
                "Dimensions": _dimensions(metric["dimensions"]),
            },
            "Period": metric["period"],
            "Stat": metric["stat"],
        },
    }
