"""Autoscaling: out on what falls as capacity rises, in by one alarm, never because a publisher is silent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import ALARM, POLICY, SERVICE, TARGET, alarm_readings, queue_of, scaled
from scripts.render import Render, Resource
from service.fleet import METRIC_DEPTH, METRIC_LEASED

_INFINITY: Final = float("inf")


def _targets(render: Render) -> Iterator[Problem]:
    """A target is a service that exists, with bounds that leave room."""
    cluster = render.of_type("ecs/cluster:Cluster")[0].inputs["name"]
    services = {f"service/{cluster}/{found.inputs['name']}": found for found in render.of_type(SERVICE)}
    for target in render.of_type(TARGET):
        inputs = target.inputs
        low, high = inputs["minCapacity"], inputs["maxCapacity"]
        if low > high:
            yield at(target, "minCapacity", f"{low} is more than maxCapacity {high}")
        if low < 1:
            yield at(target, "minCapacity", "0 tasks never start again: depth per task does not move")
        if inputs["resourceId"] not in services:
            yield at(target, "resourceId", f"{inputs['resourceId']} is not service/<cluster>/<service>")
        elif not low <= services[inputs["resourceId"]].inputs["desiredCount"] <= high:
            yield at(target, "minCapacity", "the service starts with a number of tasks outside of the bounds")


def _targeted(render: Render) -> Iterator[Problem]:
    """What moves a number of tasks moves that of a target, within bounds."""
    scheduled = render.of_type("appautoscaling/scheduledAction:ScheduledAction")
    for action in scheduled:
        bounds = action.inputs["scalableTargetAction"]
        if bounds.get("minCapacity", 0) > bounds.get("maxCapacity", _INFINITY):
            yield at(action, "scalableTargetAction", "min is more than max")
    known = {target.inputs["resourceId"] for target in render.of_type(TARGET)}
    for user in (*render.of_type(POLICY), *scheduled):
        if user.inputs["resourceId"] not in known:
            yield at(user, "resourceId", f"nothing scales {user.inputs['resourceId']}")
        if user.inputs["scalableDimension"] != "ecs:service:DesiredCount":
            yield at(user, "scalableDimension", "is not ecs:service:DesiredCount")


def _steps(render: Render) -> Iterator[Problem]:
    """Bounds are offsets from the threshold: they leave no gap, and more never adds less."""
    triggers = _triggers(render)
    for policy in render.of_type(POLICY):
        configuration = policy.inputs.get("stepScalingPolicyConfiguration")
        if configuration is None:
            continue
        spans = sorted(map(_span, configuration["stepAdjustments"]))
        for (_, upper, low), (lower, _, high) in pairwise(spans):
            if upper != lower:
                yield at(policy, "stepAdjustments", f"nothing is said between {upper} and {lower}")
            if abs(high) < abs(low) and high > 0:
                yield at(policy, "stepAdjustments", f"adds {high} where less adds {low}")
        out = any(change > 0 for _, _, change in spans)
        wanted = (0.0, _INFINITY) if out else (-_INFINITY, 0.0)
        if (spans[0][0], spans[-1][1]) != wanted:
            yield at(
                policy, "stepAdjustments", f"cover {spans[0][0]} to {spans[-1][1]}, not {wanted[0]} to {wanted[1]}"
            )
        for alarm in triggers.get(policy.urn, []):
            if alarm.inputs["comparisonOperator"].startswith("Greater") is not out:
                yield at(alarm, "comparisonOperator", f"points the other way than {policy.name}")
        if not triggers.get(policy.urn):
            yield at(policy, "", "no alarm triggers it")


def _span(step: dict[str, Any]) -> tuple[float, float, int]:
    return (
        float(step.get("metricIntervalLowerBound", -_INFINITY)),
        float(step.get("metricIntervalUpperBound", _INFINITY)),
        step["scalingAdjustment"],
    )


def _triggers(render: Render) -> dict[str, list[Resource]]:
    """Return policy's URN -> alarms that trigger it."""
    policies = {policy.urn for policy in render.of_type(POLICY)}
    found: dict[str, list[Resource]] = {}
    for alarm in render.of_type(ALARM):
        for urn in alarm.property_dependencies.get("alarmActions", []):
            if urn in policies:
                found.setdefault(urn, []).append(alarm)
    return found


def _tracking(render: Render) -> Iterator[Problem]:
    """Target tracking needs a metric that falls as tasks come, and leaves scaling in to the one alarm."""
    for policy in render.of_type(POLICY):
        configuration = policy.inputs.get("targetTrackingScalingPolicyConfiguration")
        if configuration is None:
            continue
        if configuration.get("disableScaleIn") is not True:
            yield at(policy, "disableScaleIn", "two policies scale in")
        specification = configuration.get("customizedMetricSpecification")
        if specification is None:
            continue
        returned = [query for query in specification.get("metrics", []) if query.get("returnData", True)]
        if len(returned) != 1 or "expression" not in returned[0]:
            yield at(policy, "customizedMetricSpecification", "tracks a raw metric: it does not fall as tasks come")
            continue
        tasks = {
            query["id"]
            for query in specification["metrics"]
            if query.get("metricStat", {}).get("metric", {}).get("metricName") == "RunningTaskCount"
        }
        if not any(_divides_by(returned[0]["expression"], name) for name in tasks):
            yield at(policy, "expression", f"{returned[0]['expression']!r} does not divide by max(tasks, 1)")


def _divides_by(expression: str, name: str) -> bool:
    """Say whether metric math divides by the metric `name` or 1, whichever is more (CloudWatch's MAX takes no pair)."""
    return re.search(rf"/ \(?IF\({name} > 1, {name}, 1\)", expression) is not None


def _one_way_in(render: Render) -> Iterator[Problem]:
    """One alarm a target scales in, on what waits and what runs; silence leaves the fleet as it is."""
    triggers = _triggers(render)
    for target in render.of_type(TARGET):
        ways = []
        for policy in render.of_type(POLICY):
            steps = policy.inputs.get("stepScalingPolicyConfiguration", {}).get("stepAdjustments", [])
            if policy.inputs["resourceId"] == target.inputs["resourceId"] and any(
                step["scalingAdjustment"] < 0 for step in steps
            ):
                ways += triggers.get(policy.urn, [])
        if len(ways) != 1:
            yield at(target, "", f"{len(ways)} alarms scale in, not one")
        for alarm in ways:
            if alarm.inputs.get("treatMissingData") not in ("ignore", "notBreaching"):
                yield at(alarm, "treatMissingData", "a silent publisher drains the fleet")
            read = {reading.name for reading in alarm_readings(alarm)}
            if not {METRIC_DEPTH, METRIC_LEASED} <= read:
                yield at(alarm, "metricQueries", "looks at depth or at what runs, not at both")


def _fast_out(render: Render) -> Iterator[Problem]:
    """Depth acts within seconds: an own alarm with a high-resolution period; and anomalies scale nothing."""
    triggers = _triggers(render)
    for service in render.of_type(SERVICE):
        target = scaled(render, service)
        queue = queue_of(render, service)
        if target is None or queue is None:
            continue
        fast = False
        for policy in render.of_type(POLICY):
            for alarm in triggers.get(policy.urn, []):
                if "thresholdMetricId" in alarm.inputs:
                    yield at(alarm, "thresholdMetricId", "an anomaly cannot drive scaling")
                if policy.inputs["resourceId"] == target.inputs["resourceId"]:
                    fast = fast or any(
                        reading.name == METRIC_DEPTH and (reading.period or 60) < 60
                        for reading in alarm_readings(alarm)
                    )
        if not fast:
            yield at(target, "", f"no alarm on the depth of {queue} has a period below a minute")


CHECKS: Final[Checks] = {
    "scaling.targets": _targets,
    "scaling.targeted": _targeted,
    "scaling.steps": _steps,
    "scaling.tracking": _tracking,
    "scaling.one-way-in": _one_way_in,
    "scaling.fast-out": _fast_out,
}
