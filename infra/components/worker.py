"""The workers of one queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.alarm import metric_alarm
from infra.components.common import Json
from infra.components.scaling import QueueScaling, QueueScalingArgs
from infra.components.service import FargateService, FargateServiceArgs, Platform, task_protection
from infra.plan.alarms import deployment_alarms, service_usage
from infra.plan.container import WORKER_COMMAND


@dataclass(frozen=True)
class QueueWorkerArgs:
    """Arguments of `QueueWorker`.

    Attributes:
        platform: What all services share.
        queue: The queue's name.
        settings: Sizes, bounds, thresholds.
        environment: Variables of the worker.
        topic_arn: Who hears of alarms.
        statements: What the workers' own AWS calls may do, beside keeping themselves from being scaled in.
    """

    platform: Platform
    queue: str
    settings: config.Queue
    environment: Mapping[str, pulumi.Input[str]]
    topic_arn: pulumi.Input[str]
    statements: Sequence[Json] = ()


class QueueWorker(pulumi.ComponentResource):
    """A service whose tasks work on one queue, the alarms that guard its deployments, and its autoscaling.

    Attributes:
        service: The ECS service.
    """

    service: aws.ecs.Service

    def __init__(self, name: str, args: QueueWorkerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the workers called after `name`."""
        super().__init__("celery-fleet:index:QueueWorker", name, None, opts)
        child, platform, settings = pulumi.ResourceOptions(parent=self), args.platform, args.settings
        scope = platform.scope
        guards = [
            metric_alarm(scope, alarm, child, actions=[args.topic_arn], ok_actions=[args.topic_arn])
            for alarm in deployment_alarms(
                scope.names.stack,
                args.queue,
                name,
                service_usage(platform.cluster_name, scope.names.of(name), "MemoryUtilization"),
                # ECS measures against the task's memory, the container is killed at its own limit.
                memory_percent=90 * settings.container_memory // settings.memory,
                age=settings.alarm_age,
            )
        ]
        scaled = settings.room > 0 or bool(settings.schedule)
        service = FargateService(
            name,
            FargateServiceArgs(
                platform=platform,
                command=WORKER_COMMAND,
                task=settings,
                desired=settings.min,
                fewest=settings.fewest,
                statements=[task_protection(scope, platform.cluster_name), *args.statements],
                environment=args.environment,
                secrets=settings.secrets,
                policies=settings.policies,
                spot=settings.spot,
                protection=settings.protection,
                scaled=scaled,
                alarms=[guard.name for guard in guards],
                queue=args.queue,
            ),
            child,
        )
        if scaled:
            QueueScaling(
                name,
                QueueScalingArgs(scope, platform.cluster_name, service.service.name, args.queue, settings),
                child,
            )
        self.service = service.service
        self.register_outputs({"serviceName": self.service.name})
