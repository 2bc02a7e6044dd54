"""The one service that looks at the queues and publishes their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.common import allow
from infra.components.service import FargateService, FargateServiceArgs, Platform
from infra.plan.container import MONITOR_COMMAND
from service.fleet import METRIC_NAMESPACE


@dataclass(frozen=True)
class MonitorArgs:
    """Arguments of `Monitor`.

    Attributes:
        platform: What all services share.
        task: Sizes.
        environment: Its own variables, beside those of all services.
    """

    platform: Platform
    task: config.Task
    environment: Mapping[str, str]


class Monitor(pulumi.ComponentResource):
    """One task that publishes depth, age, leased and dead of every queue to CloudWatch.

    Attributes:
        service: The ECS service.
    """

    service: aws.ecs.Service

    def __init__(self, name: str, args: MonitorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the monitor."""
        super().__init__("celery-fleet:index:Monitor", name, None, opts)
        service = FargateService(
            name,
            FargateServiceArgs(
                platform=args.platform,
                command=MONITOR_COMMAND,
                environment=args.environment,
                task=args.task,
                desired=1,
                fewest=1,
                # PutMetricData knows no resources: the namespace is the only fence.
                statements=[
                    allow(
                        ["cloudwatch:PutMetricData"],
                        ["*"],
                        StringEquals={"cloudwatch:namespace": METRIC_NAMESPACE},
                    )
                ],
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.service = service.service
        self.register_outputs({"serviceName": self.service.name})
