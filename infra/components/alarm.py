"""From a planned alarm to one in CloudWatch."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from infra.components.common import Scope
from infra.plan.alarms import Alarm


def metric_alarm(
    scope: Scope,
    alarm: Alarm,
    opts: pulumi.ResourceOptions,
    actions: Sequence[pulumi.Input[str]],
    ok_actions: Sequence[pulumi.Input[str]] = (),
) -> aws.cloudwatch.MetricAlarm:
    """Create `alarm` with what happens when it fires (`actions`) and when it is over (`ok_actions`), as ARNs."""
    return aws.cloudwatch.MetricAlarm(
        alarm.name,
        name=scope.names.of(alarm.name),
        alarm_description=alarm.description,
        namespace=alarm.metric.namespace,
        metric_name=alarm.metric.name,
        dimensions=dict(alarm.metric.dimensions),
        statistic=alarm.metric.statistic,
        comparison_operator=alarm.comparison,
        threshold=alarm.threshold,
        period=alarm.period,
        evaluation_periods=alarm.points,
        datapoints_to_alarm=alarm.breaching or alarm.points,
        treat_missing_data=alarm.missing,
        alarm_actions=list(actions),
        ok_actions=list(ok_actions),
        tags=scope.tags.of(queue=alarm.queue),
        opts=opts,
    )
