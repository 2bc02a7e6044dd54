"""Alarms about the whole stack, and its dashboard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.alarm import metric_alarm
from infra.components.common import Scope
from infra.plan.alarms import Alarm
from infra.plan.dashboard import dashboard


@dataclass(frozen=True)
class AlarmsArgs:
    """Arguments of `Alarms`.

    Attributes:
        scope: The stack.
        alarms: What to watch.
        topic_arn: Who hears of it.
        after: What must run before: silence of what does not exist yet is no alarm.
    """

    scope: Scope
    alarms: Sequence[Alarm]
    topic_arn: pulumi.Input[str]
    after: Sequence[pulumi.Resource]


class Alarms(pulumi.ComponentResource):
    """Alarms that tell people, when they start and when they are over."""

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the alarms."""
        super().__init__("celery-fleet:index:Alarms", name, None, opts)
        for alarm in args.alarms:
            metric_alarm(
                args.scope,
                alarm,
                pulumi.ResourceOptions(parent=self, depends_on=args.after),
                actions=[args.topic_arn],
                ok_actions=[args.topic_arn],
            )
        self.register_outputs({})


@dataclass(frozen=True)
class DashboardArgs:
    """Arguments of `Dashboard`.

    Attributes:
        scope: The stack.
        cluster_name: ECS cluster.
        services: Queue -> ECS service.
        monitor: The monitor's ECS service.
        nodes: What a Redis node is called there -> its id.
        beat: The beat's ECS service, if there is one.
    """

    scope: Scope
    cluster_name: str
    services: Mapping[str, str]
    monitor: str
    nodes: Mapping[str, str]
    beat: str | None = None


class Dashboard(pulumi.ComponentResource):
    """One CloudWatch dashboard: queues, workers, Redis, deployments, cost drivers.

    Attributes:
        name: The dashboard's name.
    """

    name: pulumi.Output[str]

    def __init__(self, name: str, args: DashboardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the dashboard."""
        super().__init__("celery-fleet:index:Dashboard", name, None, opts)
        scope = args.scope
        board = aws.cloudwatch.Dashboard(
            name,
            dashboard_name=scope.names.prefix,
            dashboard_body=scope.region.apply(
                lambda region: json.dumps(
                    dashboard(
                        scope.names.stack,
                        region,
                        args.cluster_name,
                        args.services,
                        args.monitor,
                        args.nodes,
                        args.beat,
                    )
                )
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name = board.dashboard_name
        self.register_outputs({"name": self.name})
