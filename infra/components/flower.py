"""Celery's web page about workers and tasks, which nobody reaches but through a tunnel."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.secret import keep, password, reference
from infra.components.service import FargateService, FargateServiceArgs, Platform
from infra.plan import environment
from infra.plan.container import FLOWER_COMMAND
from infra.plan.tunnel import tunnel
from service.fleet import FLOWER_PORT, FLOWER_USER


@dataclass(frozen=True)
class FlowerArgs:
    """Arguments of `Flower`.

    Attributes:
        platform: What all services share.
        settings: Sizes, and what people may do there.
        sessions_arn: Log group of ECS Exec sessions: its agent is the tunnel's end.
    """

    platform: Platform
    settings: config.Flower
    sessions_arn: pulumi.Input[str]


class Flower(pulumi.ComponentResource):
    """One task that listens on its own loopback address only, and the password of its page.

    Attributes:
        service: The ECS service.
        secret_arn: Where the password is.
        tunnel: The command that opens a tunnel to it.
    """

    service: aws.ecs.Service
    secret_arn: pulumi.Output[str]
    tunnel: pulumi.Output[str]

    def __init__(self, name: str, args: FlowerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create Flower."""
        super().__init__("celery-fleet:index:Flower", name, None, opts)
        platform = args.platform
        scope = platform.scope
        secret = keep(
            f"{name}-password",
            scope,
            f"{name}-password",
            f"Password of {FLOWER_USER} on Flower's page",
            password(f"{name}-password", self),
            platform.key_arn,
            self,
        )
        service = FargateService(
            name,
            FargateServiceArgs(
                platform=platform,
                command=FLOWER_COMMAND,
                task=args.settings,
                desired=1,
                fewest=1,
                statements=[],
                environment=environment.flower(args.settings),
                secrets={"FLEET_FLOWER_PASSWORD": reference(secret)},
                sessions_arn=args.sessions_arn,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.service, self.secret_arn = service.service, secret.secret_arn
        self.tunnel = scope.region.apply(
            lambda region: tunnel(region, platform.cluster_name, scope.names.of(name), FLOWER_PORT)
        )
        self.register_outputs({"serviceName": self.service.name, "secretArn": self.secret_arn})
