"""Defects of autoscaling, alarms, events and the dashboard."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from tests.infra.defects.draft import Defect, Draft, Seed, defect, document, drop, put

POLICY: Final = "appautoscaling/policy:Policy"
TARGET: Final = "appautoscaling/target:Target"
ALARM: Final = "metricAlarm:MetricAlarm"
BOARD: Final = "cloudwatch/dashboard:Dashboard"
RULE: Final = "cloudwatch/eventRule:EventRule"
_TRACKING: Final = "targetTrackingScalingPolicyConfiguration"
_STEPS: Final = "stepScalingPolicyConfiguration.stepAdjustments"


def _expression(text: str) -> Seed:
    def seed(draft: Draft) -> None:
        configuration = draft.find(POLICY, "celery-backlog").inputs[_TRACKING]
        for query in configuration["customizedMetricSpecification"]["metrics"]:
            if "expression" in query:
                query["expression"] = text

    return seed


def _raw_depth(draft: Draft) -> None:
    configuration = draft.find(POLICY, "celery-backlog").inputs[_TRACKING]
    metrics = configuration["customizedMetricSpecification"]["metrics"]
    metrics[:] = [{**query, "returnData": True} for query in metrics if query["id"] == "depth"]


def _second_way_in(draft: Draft) -> None:
    alarm = draft.find(ALARM, "celery-scale-in")
    copied = copy.deepcopy(alarm)
    copied.inputs["name"] += "-too"
    draft.resources.append(copied)
    draft.replace(copied, name="celery-scale-in-too", urn=f"{alarm.urn}-too")


def _metric_of(alarm: str, name: str) -> Seed:
    """Let every query of `alarm` read the metric `name`."""

    def seed(draft: Draft) -> None:
        for query in draft.find(ALARM, alarm).inputs["metricQueries"]:
            if "metric" in query and query["id"] == "leased":
                query["metric"]["metricName"] = name

    return seed


def _widget(edit: Any) -> Seed:
    return document(BOARD, None, "dashboardBody", lambda body: edit(body["widgets"]))


def _overlap(widgets: list[dict[str, Any]]) -> None:
    widgets[2]["x"] = widgets[1]["x"]


def _forget_queue(widgets: list[dict[str, Any]]) -> None:
    for widget in widgets:
        rows = widget["properties"].get("metrics", [])
        rows[:] = [row for row in rows if "workflow_queue" not in row]


def _other_clusters(draft: Draft) -> None:
    rule = draft.find(RULE, "worker-died")
    pattern = json.loads(rule.inputs["eventPattern"])
    del pattern["detail"]["clusterArn"]
    rule.inputs["eventPattern"] = json.dumps(pattern)


DEFECTS: Final[dict[str, Defect]] = {
    "tracking of the raw depth": defect("scaling.tracking", _raw_depth),
    "division by tasks that may be 0": defect("scaling.tracking", _expression("depth / tasks")),
    "a backlog that rises with the tasks": defect("scaling.tracking", _expression("depth * tasks")),
    "tracking that scales in": defect(
        "scaling.tracking", put(POLICY, "celery-backlog", f"{_TRACKING}.disableScaleIn", False)
    ),
    "step bounds as numbers": defect(
        "provider.aws", put(POLICY, "celery-scale-out", f"{_STEPS}.0.metricIntervalLowerBound", 0)
    ),
    "steps with a gap": defect(
        "scaling.steps", put(POLICY, "celery-scale-out", f"{_STEPS}.0.metricIntervalUpperBound", "50")
    ),
    "step bounds that are not offsets": defect(
        "scaling.steps", put(POLICY, "celery-scale-out", f"{_STEPS}.0.metricIntervalLowerBound", "100")
    ),
    "steps that add less for more": defect(
        "scaling.steps", put(POLICY, "celery-scale-out", f"{_STEPS}.2.scalingAdjustment", 1)
    ),
    "an alarm that points the other way": defect(
        "scaling.steps", put(ALARM, "celery-scale-out", "comparisonOperator", "LessThanThreshold")
    ),
    "a policy that nothing triggers": defect("scaling.steps", drop(ALARM, "celery-scale-out-age")),
    "two ways in": defect("scaling.one-way-in", _second_way_in),
    "no way in": defect("scaling.one-way-in", drop(POLICY, "celery-scale-in"), drop(ALARM, "celery-scale-in")),
    "silence drains the fleet": defect(
        "scaling.one-way-in alarms.silence", put(ALARM, "celery-scale-in", "treatMissingData", "breaching")
    ),
    "scale-in that forgets what runs": defect("scaling.one-way-in", _metric_of("celery-scale-in", "QueueDepth")),
    "depth looked at once a minute": defect("scaling.fast-out", put(ALARM, "celery-scale-out", "period", 60)),
    "an anomaly that scales": defect("scaling.fast-out", put(ALARM, "celery-scale-out", "thresholdMetricId", "band")),
    "min above max": defect("scaling.targets", put(TARGET, "celery", "minCapacity", 20)),
    "min of 0": defect("scaling.targets ecs.rolling", put(TARGET, "celery", "minCapacity", 0)),
    "a schedule with min above max": defect(
        "scaling.targeted",
        put("ScheduledAction", "reports-queue-schedule-2", "scalableTargetAction.minCapacity", 50),
        base="extra-queue",
    ),
    "a policy of no target": defect(
        "scaling.targeted", put(POLICY, "celery-backlog", "resourceId", "service/celery-fleet-prod-celery")
    ),
    "another dimension than the number of tasks": defect(
        "scaling.targeted", put(POLICY, "celery-backlog", "scalableDimension", "ec2:spot-fleet-request:TargetCapacity")
    ),
    "a period that does not exist": defect("alarms.periods", put(ALARM, "celery-deep", "period", 45)),
    "high resolution of AWS' metrics": defect("alarms.periods", put(ALARM, "celery-cpu", "period", 10)),
    "longer than a day": defect("alarms.periods", put(ALARM, "celery-deep", "evaluationPeriods", 2000)),
    "more breaching points than points": defect("alarms.periods", put(ALARM, "celery-deep", "datapointsToAlarm", 9)),
    "two results of metric math": defect(
        "alarms.periods", put(ALARM, "celery-scale-in", "metricQueries.1.returnData", True)
    ),
    "a task's id as a dimension": defect(
        "alarms.sources",
        put(ALARM, "celery-deep", "dimensions", {"Stack": "prod", "Queue": "celery", "TaskId": "0f"}),
    ),
    "an alarm on a queue that nobody works on": defect(
        "alarms.sources", put(ALARM, "celery-deep", "dimensions", {"Stack": "prod", "Queue": "celry"})
    ),
    "a metric that nobody publishes": defect(
        "alarms.sources alarms.watched-queues", put(ALARM, "celery-letters", "metricName", "QueueLettrs")
    ),
    "an alarm on another stack": defect(
        "alarms.sources", put(ALARM, "celery-deep", "dimensions", {"Stack": "staging", "Queue": "celery"})
    ),
    "a service that does not exist": defect(
        "alarms.sources alarms.watched-queues",
        put(ALARM, "celery-cpu", "dimensions", {"ClusterName": "celery-fleet-prod", "ServiceName": "celery"}),
    ),
    "dead letters that nobody hears of": defect("alarms.watched-queues", drop(ALARM, "data-queue-letters")),
    "a queue without workers that nobody hears of": defect(
        "alarms.watched-queues", drop(ALARM, "data-queue-no-worker")
    ),
    "a silent publisher that nobody hears of": defect("alarms.silence", drop(ALARM, "publisher-silent")),
    "a silent publisher that is no alarm": defect(
        "alarms.silence", put(ALARM, "publisher-silent", "treatMissingData", "notBreaching")
    ),
    "everybody woken by a silent publisher": defect(
        "alarms.silence", put(ALARM, "celery-deep", "treatMissingData", "breaching")
    ),
    "an alarm without an action": defect("alarms.actions", put(ALARM, "celery-deep", "alarmActions", [])),
    "an alarm that is switched off": defect("alarms.actions", put(ALARM, "celery-deep", "actionsEnabled", False)),
    "an alarm that says nothing": defect("alarms.actions", put(ALARM, "celery-deep", "alarmDescription", "")),
    "an operator that does not exist": defect(
        "api.requests", put(ALARM, "celery-deep", "comparisonOperator", "GreaterThan")
    ),
    "a statistic that does not exist": defect("api.requests", put(ALARM, "celery-deep", "statistic", "Max")),
    "missing data treated in a way that does not exist": defect(
        "alarms.silence", put(ALARM, "publisher-silent", "treatMissingData", "breach")
    ),
    "events of other clusters": defect("alarms.events", _other_clusters),
    "events that go nowhere": defect("alarms.events", drop("cloudwatch/eventTarget:EventTarget", "worker-died")),
    "widgets on top of each other": defect("alarms.dashboard", _widget(_overlap)),
    "a queue that the dashboard forgets": defect("alarms.dashboard", _widget(_forget_queue)),
    "a dashboard of another metric": defect(
        "alarms.sources",
        _widget(
            lambda widgets: widgets[1]["properties"]["metrics"].append(["AWS/ECS", "CPUUtilization", "Task", "0f"])
        ),
    ),
    "a rule name that is too long": defect(
        "names.limits api.requests alarms.events alarms.sources",
        put(RULE, "worker-died", "name", f"celery-fleet-prod-{'x' * 60}"),
    ),
}
