"""From a planned alarm to one in CloudWatch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.components.common import Scope
from infra.plan.alarms import Alarm, Formula, Metric


def metric_alarm(
    scope: Scope,
    alarm: Alarm,
    opts: pulumi.ResourceOptions,
    actions: Sequence[pulumi.Input[str]],
    ok_actions: Sequence[pulumi.Input[str]] = (),
) -> aws.cloudwatch.MetricAlarm:
    """Create `alarm` with what happens when it fires (`actions`) and when it is over (`ok_actions`), as ARNs."""
    metric = alarm.metric
    watched = _formula(metric, alarm.period) if isinstance(metric, Formula) else _single(metric, alarm.period)
    return aws.cloudwatch.MetricAlarm(
        alarm.name,
        name=scope.names.of(alarm.name),
        alarm_description=alarm.description,
        **watched,
        comparison_operator=alarm.comparison,
        threshold=alarm.threshold,
        evaluation_periods=alarm.points,
        datapoints_to_alarm=alarm.breaching or alarm.points,
        treat_missing_data=alarm.missing,
        alarm_actions=list(actions),
        ok_actions=list(ok_actions),
        tags=scope.tags.of(queue=alarm.queue),
        opts=opts,
    )


def _single(metric: Metric, period: int) -> dict[str, Any]:
    return {
        "namespace": metric.namespace,
        "metric_name": metric.name,
        "dimensions": dict(metric.dimensions),
        "statistic": metric.statistic,
        "period": period,
    }


def _formula(formula: Formula, period: int) -> dict[str, Any]:
    query, source = aws.cloudwatch.MetricAlarmMetricQueryArgs, aws.cloudwatch.MetricAlarmMetricQueryMetricArgs
    return {
        "metric_queries": [
            query(id="watched", expression=formula.expression, label=formula.label, return_data=True),
            *(
                query(
                    id=key,
                    return_data=False,
                    metric=source(
                        namespace=metric.namespace,
                        metric_name=metric.name,
                        dimensions=dict(metric.dimensions),
                        stat=metric.statistic,
                        period=period,
                    ),
                )
                for key, metric in formula.sources.items()
            ),
        ]
    }
