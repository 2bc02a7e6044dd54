"""How the number of a queue's tasks follows its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_aws.appautoscaling import PolicyStepScalingPolicyConfigurationStepAdjustmentArgs as _Step
from pulumi_aws.appautoscaling import PolicyTargetTrackingScalingPolicyConfigurationArgs
from pulumi_aws.appautoscaling import (
    PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationArgs as _Specification,
)
from pulumi_aws.appautoscaling import (
    PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricArgs as _Query,
)
from pulumi_aws.appautoscaling import (
    PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricMetricStatArgs as _Stat,
)
from pulumi_aws.appautoscaling import (
    PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricMetricStatMetricArgs as _Metric,
)
from pulumi_aws.appautoscaling import (
    PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricMetricStatMetricDimensionArgs as _Dimension,  # noqa: E501
)

from infra import config
from infra.components.alarm import metric_alarm
from infra.components.common import Scope
from infra.plan.alarms import BELOW, Alarm, Metric, queue_metric, running_tasks
from infra.plan.scaling import BACKLOG_PER_TASK, Step, busy_percent, out_steps
from service.fleet import METRIC_DEPTH, METRIC_LEASED, METRIC_OLDEST_AGE, METRIC_PERIOD


@dataclass(frozen=True)
class QueueScalingArgs:
    """Arguments of `QueueScaling`.

    Attributes:
        scope: The stack.
        cluster_name: ECS cluster.
        service_name: ECS service; an output, so that the target waits for the service.
        queue: The queue's name.
        settings: Bounds and thresholds.
    """

    scope: Scope
    cluster_name: str
    service_name: pulumi.Output[str]
    queue: str
    settings: config.Queue


class QueueScaling(pulumi.ComponentResource):
    """Out within seconds on depth, within minutes on backlog per task and on age; in slowly, by one alarm alone."""

    def __init__(self, name: str, args: QueueScalingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the target, its policies and their alarms."""
        super().__init__("celery-fleet:index:QueueScaling", name, None, opts)
        self._name, self._args, self._scope = name, args, args.scope
        self._child = pulumi.ResourceOptions(parent=self)
        self._stack, self._service = args.scope.names.stack, args.scope.names.of(name)
        self._target = aws.appautoscaling.Target(
            name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.concat("service/", args.cluster_name, "/", args.service_name),
            min_capacity=args.settings.min,
            max_capacity=args.settings.max,
            tags=args.scope.tags.of(queue=args.queue),
            opts=self._child,
        )
        if args.settings.room:
            self._out()
            self._backlog()
            self._in()
        self._schedule()
        self.register_outputs({})

    def _metric(self, name: str) -> Metric:
        return queue_metric(self._stack, self._args.queue, name)

    def _out(self) -> None:
        """Add tasks by steps; of several policies the largest wins."""
        settings, queue = self._args.settings, self._args.queue
        triggers = (
            Alarm(
                f"{self._name}-scale-out",
                f"Adds workers: {queue} holds more than {settings.scale_out_depth} runnable messages.",
                self._metric(METRIC_DEPTH),
                settings.scale_out_depth,
                # High resolution: half a minute where target tracking takes three. One point may come late.
                period=METRIC_PERIOD,
                breaching=2,
                queue=queue,
            ),
            Alarm(
                f"{self._name}-scale-out-age",
                f"Adds workers: the oldest message of {queue} has been ready for {settings.target_latency} s.",
                self._metric(METRIC_OLDEST_AGE),
                settings.target_latency,
                queue=queue,
                points=2,
            ),
        )
        for trigger in triggers:
            steps = out_steps(int(trigger.threshold), settings.room)
            policy = self._steps(trigger.name, steps, cooldown=60, aggregation="Maximum")
            metric_alarm(self._scope, trigger, self._child, actions=[policy.arn])

    def _in(self) -> None:
        """Remove one task at a time once most slots have been free for a quarter of an hour.

        Nothing else scales in, so no policy can take away what another one needs.
        """
        settings, queue = self._args.settings, self._args.queue
        policy = self._steps(f"{self._name}-scale-in", (Step(None, 0, -1),), cooldown=300, aggregation="Average")
        query, metric = aws.cloudwatch.MetricAlarmMetricQueryArgs, aws.cloudwatch.MetricAlarmMetricQueryMetricArgs
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-scale-in",
            name=self._scope.names.of(f"{self._name}-scale-in"),
            alarm_description=f"Removes a worker: under {settings.scale_in_busy} % of the slots of {queue} have work.",
            comparison_operator=BELOW,
            threshold=settings.scale_in_busy,
            evaluation_periods=15,
            datapoints_to_alarm=15,
            # A dead publisher must not drain the fleet.
            treat_missing_data="notBreaching",
            metric_queries=[
                query(
                    id="busy",
                    expression=busy_percent(settings.concurrency),
                    label="Busy slots (%)",
                    return_data=True,
                ),
                *(
                    query(
                        id=key,
                        return_data=False,
                        metric=metric(
                            namespace=source.namespace,
                            metric_name=source.name,
                            dimensions=dict(source.dimensions),
                            stat=source.statistic,
                            period=60,
                        ),
                    )
                    for key, source in self._sources(METRIC_DEPTH, METRIC_LEASED)
                ),
            ],
            alarm_actions=[policy.arn],
            tags=self._scope.tags.of(queue=queue),
            opts=self._child,
        )

    def _backlog(self) -> None:
        """Keep the backlog per task, outward only."""
        aws.appautoscaling.Policy(
            f"{self._name}-backlog",
            name=self._scope.names.of(f"{self._name}-backlog"),
            policy_type="TargetTrackingScaling",
            service_namespace=self._target.service_namespace,
            scalable_dimension=self._target.scalable_dimension,
            resource_id=self._target.resource_id,
            target_tracking_scaling_policy_configuration=PolicyTargetTrackingScalingPolicyConfigurationArgs(
                target_value=self._args.settings.backlog_per_task,
                disable_scale_in=True,
                scale_out_cooldown=60,
                customized_metric_specification=_Specification(
                    metrics=[
                        *(_query(key, source) for key, source in self._sources(METRIC_DEPTH)),
                        _Query(id="backlog", expression=BACKLOG_PER_TASK, label="Backlog per task", return_data=True),
                    ]
                ),
            ),
            opts=self._child,
        )

    def _schedule(self) -> None:
        """Set other bounds at their times."""
        for number, window in enumerate(self._args.settings.schedule, 1):
            part = f"{self._name}-schedule-{number}"
            aws.appautoscaling.ScheduledAction(
                part,
                name=self._scope.names.of(part),
                service_namespace=self._target.service_namespace,
                scalable_dimension=self._target.scalable_dimension,
                resource_id=self._target.resource_id,
                schedule=window.expression,
                timezone=window.timezone,
                scalable_target_action=aws.appautoscaling.ScheduledActionScalableTargetActionArgs(
                    min_capacity=window.min, max_capacity=window.max
                ),
                opts=self._child,
            )

    def _sources(self, *names: str) -> list[tuple[str, Metric]]:
        """Return the metrics that expressions use, by their ids."""
        ids = {METRIC_DEPTH: "depth", METRIC_LEASED: "leased"}
        return [
            *((ids[name], self._metric(name)) for name in names),
            ("tasks", running_tasks(self._args.cluster_name, self._service)),
        ]

    def _steps(self, part: str, steps: Sequence[Step], cooldown: int, aggregation: str) -> aws.appautoscaling.Policy:
        """Create a step policy; `cooldown` in seconds."""
        return aws.appautoscaling.Policy(
            part,
            name=self._scope.names.of(part),
            policy_type="StepScaling",
            service_namespace=self._target.service_namespace,
            scalable_dimension=self._target.scalable_dimension,
            resource_id=self._target.resource_id,
            step_scaling_policy_configuration=aws.appautoscaling.PolicyStepScalingPolicyConfigurationArgs(
                adjustment_type="ChangeInCapacity",
                cooldown=cooldown,
                metric_aggregation_type=aggregation,
                step_adjustments=[_step(step) for step in steps],
            ),
            opts=self._child,
        )


def _step(step: Step) -> _Step:
    return _Step(
        scaling_adjustment=step.change,
        metric_interval_lower_bound=None if step.lower is None else str(step.lower),
        metric_interval_upper_bound=None if step.upper is None else str(step.upper),
    )


def _query(key: str, source: Metric) -> _Query:
    """Return `source` as an input of a target tracking expression, under the id `key`."""
    dimensions = [_Dimension(name=name, value=value) for name, value in source.dimensions.items()]
    metric = _Metric(namespace=source.namespace, metric_name=source.name, dimensions=dimensions)
    return _Query(id=key, metric_stat=_Stat(stat=source.statistic, metric=metric), return_data=False)
