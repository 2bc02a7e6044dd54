"""The service that publishes periodic tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.alarm import metric_alarm
from infra.components.service import FargateService, FargateServiceArgs, Platform
from infra.plan.alarms import beat_alarms, service_usage
from infra.plan.container import BEAT_COMMAND

#: One leads, one stands by.
TASKS = 2


@dataclass(frozen=True)
class BeatArgs:
    """Arguments of `Beat`.

    Attributes:
        platform: What all services share.
        settings: Sizes, and what the task modules need.
        environment: Variables of the service.
        topic_arn: Who hears of alarms.
    """

    platform: Platform
    settings: config.Beat
    environment: Mapping[str, pulumi.Input[str]]
    topic_arn: pulumi.Input[str]


class Beat(pulumi.ComponentResource):
    """Two tasks of which one leads, and the alarms that guard them and their deployments.

    Attributes:
        service: The ECS service.
    """

    service: aws.ecs.Service

    def __init__(self, name: str, args: BeatArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the beat."""
        super().__init__("celery-fleet:index:Beat", name, None, opts)
        child, platform, settings = pulumi.ResourceOptions(parent=self), args.platform, args.settings
        scope = platform.scope
        guards = [
            metric_alarm(scope, alarm, child, actions=[args.topic_arn], ok_actions=[args.topic_arn])
            for alarm in beat_alarms(
                scope.names.stack,
                service_usage(platform.cluster_name, scope.names.of(name), "MemoryUtilization"),
                # ECS measures against the task's memory, the container is killed at its own limit.
                memory_percent=90 * settings.container_memory // settings.memory,
            )
        ]
        service = FargateService(
            name,
            FargateServiceArgs(
                platform=platform,
                command=BEAT_COMMAND,
                task=settings,
                desired=TASKS,
                fewest=TASKS,
                statements=[],
                environment=args.environment,
                secrets=settings.secrets,
                alarms=[guard.name for guard in guards],
            ),
            child,
        )
        self.service = service.service
        self.register_outputs({"serviceName": self.service.name})
