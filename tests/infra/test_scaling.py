"""Autoscaling: out on what the monitor really publishes, in slowly, and never because the monitor is silent."""

from __future__ import annotations

from typing import Any

from scripts.render import Render, Resource
from scripts.render.services import services
from service.fleet import (
    DEAD_LETTER_QUEUE,
    DIMENSION_QUEUE,
    DIMENSION_STACK,
    METRIC_DEPTH,
    METRIC_LEASED,
    METRIC_NAMESPACE,
    METRIC_PERIOD,
    QUEUES,
)


def short(queue: str) -> str:
    return queue.replace("_", "-")


def metrics_of(alarm: Resource) -> dict[str, dict[str, Any]]:
    return {query["id"]: query["metric"] for query in alarm.inputs["metricQueries"] if "metric" in query}


def test_depth_alarm_watches_the_published_metric_every_ten_seconds(stack: Render) -> None:
    published = {"Stack": stack.stack}
    for service in services(stack):
        assert service.environment["FLEET_STACK"] == published["Stack"], "the monitor's Stack dimension"
    for queue in QUEUES:
        alarm = stack.one("MetricAlarm", f"{short(queue.name)}-scale-out")
        policy = stack.one("appautoscaling/policy:Policy", f"{short(queue.name)}-scale-out")
        assert alarm.inputs["namespace"] == METRIC_NAMESPACE
        assert alarm.inputs["metricName"] == METRIC_DEPTH
        assert alarm.inputs["dimensions"] == {DIMENSION_STACK: stack.stack, DIMENSION_QUEUE: queue.name}
        assert (alarm.inputs["period"], alarm.inputs["threshold"]) == (METRIC_PERIOD, 100)
        assert alarm.inputs["comparisonOperator"] == "GreaterThanThreshold"
        assert alarm.property_dependencies["alarmActions"] == [policy.urn]
        assert policy.inputs["policyType"] == "StepScaling"


def test_only_one_alarm_scales_in_and_silence_does_not(stack: Render) -> None:
    for queue in QUEUES:
        alarm = stack.one("MetricAlarm", f"{short(queue.name)}-scale-in")
        assert alarm.inputs["comparisonOperator"] == "LessThanThreshold"
        assert alarm.inputs["treatMissingData"] == "notBreaching"
        assert alarm.inputs["evaluationPeriods"] == alarm.inputs["datapointsToAlarm"] == 15
        metrics = metrics_of(alarm)
        assert {metrics["depth"]["metricName"], metrics["leased"]["metricName"]} == {METRIC_DEPTH, METRIC_LEASED}
        for key in ("depth", "leased"):
            assert metrics[key]["namespace"] == METRIC_NAMESPACE
            assert metrics[key]["dimensions"] == {DIMENSION_STACK: stack.stack, DIMENSION_QUEUE: queue.name}
        (expression,) = (query["expression"] for query in alarm.inputs["metricQueries"] if "expression" in query)
        concurrency = {s.queue: s.environment.get("FLEET_CONCURRENCY") for s in services(stack)}[queue.name]
        assert expression == f"100 * (depth + leased) / (IF(tasks > 1, tasks, 1) * {concurrency})"
    for policy in stack.of_type("appautoscaling/policy:Policy"):
        tracking = policy.inputs.get("targetTrackingScalingPolicyConfiguration")
        assert tracking is None or tracking["disableScaleIn"] is True


def test_target_tracking_divides_the_depth_by_the_tasks(stack: Render) -> None:
    for queue in QUEUES:
        policy = stack.one("appautoscaling/policy:Policy", f"{short(queue.name)}-backlog")
        metrics = policy.inputs["targetTrackingScalingPolicyConfiguration"]["customizedMetricSpecification"]["metrics"]
        by_id = {metric["id"]: metric for metric in metrics}
        assert [metric["id"] for metric in metrics if metric["returnData"]] == ["backlog"]
        assert by_id["backlog"]["expression"] == "depth / IF(tasks > 1, tasks, 1)"
        depth = by_id["depth"]["metricStat"]["metric"]
        assert (depth["namespace"], depth["metricName"]) == (METRIC_NAMESPACE, METRIC_DEPTH)
        tasks = {entry["name"]: entry["value"] for entry in by_id["tasks"]["metricStat"]["metric"]["dimensions"]}
        assert tasks["ServiceName"] == f"celery-fleet-{stack.stack}-{short(queue.name)}"


def test_bounds_are_the_services_own_and_fixed_services_do_not_scale(stack: Render) -> None:
    targets = {target.name: target.inputs for target in stack.of_type("appautoscaling/target:Target")}
    assert set(targets) == {short(queue.name) for queue in QUEUES}
    assert short(DEAD_LETTER_QUEUE.name) not in targets
    for name, target in targets.items():
        assert target["minCapacity"] == stack.one("ecs/service:Service", name).inputs["desiredCount"]
        assert target["maxCapacity"] > target["minCapacity"]
