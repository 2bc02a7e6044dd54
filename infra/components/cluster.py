"""The ECS cluster that the services share."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.common import Scope


@dataclass(frozen=True)
class ClusterArgs:
    """Arguments of `Cluster`.

    Attributes:
        scope: The stack.
        log_days: Days to keep the log of ECS Exec sessions.
        key_arn: KMS key of that log, of the sessions and of the disks of tasks.
    """

    scope: Scope
    log_days: int
    key_arn: pulumi.Input[str]


class Cluster(pulumi.ComponentResource):
    """An ECS cluster on Fargate and Fargate Spot with Container Insights.

    Attributes:
        arn: The cluster's ARN.
        name: The cluster's name.
        exec_log_arn: Log group of ECS Exec sessions.
    """

    arn: pulumi.Output[str]
    name: str
    exec_log_arn: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the cluster."""
        super().__init__("celery-fleet:index:Cluster", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        sessions = aws.cloudwatch.LogGroup(
            "exec",
            name=scope.names.log_group("exec"),
            retention_in_days=args.log_days,
            kms_key_id=args.key_arn,
            tags=scope.tags.of(),
            opts=child,
        )
        cluster = aws.ecs.Cluster(
            name,
            name=scope.names.prefix,
            settings=[aws.ecs.ClusterSettingArgs(name="containerInsights", value="enhanced")],
            configuration=aws.ecs.ClusterConfigurationArgs(
                execute_command_configuration=aws.ecs.ClusterConfigurationExecuteCommandConfigurationArgs(
                    kms_key_id=args.key_arn,
                    logging="OVERRIDE",
                    log_configuration=aws.ecs.ClusterConfigurationExecuteCommandConfigurationLogConfigurationArgs(
                        cloud_watch_encryption_enabled=True, cloud_watch_log_group_name=sessions.name
                    ),
                ),
                managed_storage_configuration=aws.ecs.ClusterConfigurationManagedStorageConfigurationArgs(
                    fargate_ephemeral_storage_kms_key_id=args.key_arn
                ),
            ),
            tags=scope.tags.of(),
            opts=child,
        )
        aws.ecs.ClusterCapacityProviders(
            name, cluster_name=cluster.name, capacity_providers=["FARGATE", "FARGATE_SPOT"], opts=child
        )
        self.arn, self.name = cluster.arn, scope.names.prefix
        self.exec_log_arn = sessions.arn
        self.register_outputs({"arn": self.arn})
