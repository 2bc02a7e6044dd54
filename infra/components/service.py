"""One ECS service on Fargate: what all of them have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.common import Json, Scope, allow, policy, trust
from infra.plan.container import SCRATCH_VOLUME, container, secret_arn
from infra.plan.deployment import MINIMUM_HEALTHY_PERCENT, capacity, maximum_percent, update_minutes


@dataclass(frozen=True)
class Platform:
    """What all services of a stack share.

    Attributes:
        scope: The stack.
        cluster_arn: ECS cluster.
        cluster_name: Its name.
        image: Reference with digest.
        repository_arn: Where the image lies.
        architecture: `X86_64` or `ARM64`.
        subnet_ids: Private subnets.
        security_group_id: Group of the tasks.
        key_arn: KMS key of logs and secrets.
        environment: Variables of every service.
        secrets: Variable -> where ECS reads it: a secret's ARN, with or without JSON key, stage and version.
        statements: What every service's own AWS calls may do.
        log_days: Days to keep logs.
        stop_timeout: Seconds from SIGTERM to SIGKILL.
        exec_log_arn: Log group of ECS Exec sessions; None where nobody may open one.
        after: What tasks need although no input of theirs names it: routes, capacity providers, Redis.
    """

    scope: Scope
    cluster_arn: pulumi.Input[str]
    cluster_name: str
    image: pulumi.Input[str]
    repository_arn: pulumi.Input[str]
    architecture: str
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    environment: Mapping[str, pulumi.Input[str]]
    secrets: Mapping[str, pulumi.Input[str]]
    statements: Sequence[Json]
    log_days: int
    stop_timeout: int
    exec_log_arn: pulumi.Input[str] | None
    after: Sequence[pulumi.Resource]


@dataclass(frozen=True)
class FargateServiceArgs:
    """Arguments of `FargateService`.

    Attributes:
        platform: What all services share.
        command: Exec form.
        task: Sizes.
        desired: Tasks at creation.
        fewest: The fewest tasks ever; a rolling deployment must move with them, too.
        statements: What the service's own AWS calls may do; none if it makes none.
        environment: Variables beside the platform's.
        secrets: Secrets beside the platform's.
        policies: Further managed policies of the task role.
        spot: Which tasks are on Spot; none unless given.
        protection: Minutes for which a run of a Celery task can hold up a deployment.
        scaled: Whether autoscaling owns the number of tasks once the service exists.
        alarms: Names of the alarms that roll a deployment back.
        queue: For the Queue tag.
        sessions_arn: Log group of ECS Exec sessions, where this service has them though the platform has none.
    """

    platform: Platform
    command: tuple[str, ...]
    task: config.Task
    desired: int
    fewest: int
    statements: list[Json]
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    policies: Sequence[str] = ()
    spot: config.Spot | None = None
    protection: int = 0
    scaled: bool = False
    alarms: Sequence[pulumi.Input[str]] = ()
    queue: str | None = None
    sessions_arn: pulumi.Input[str] | None = None


class FargateService(pulumi.ComponentResource):
    """Task definition, its two roles, its log group, and the service that keeps tasks of it running.

    Attributes:
        service: The ECS service.
    """

    service: aws.ecs.Service

    def __init__(self, name: str, args: FargateServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the service called after `name`."""
        super().__init__("celery-fleet:index:FargateService", name, None, opts)
        self._name, self._args, self._platform = name, args, args.platform
        self._scope, self._child = args.platform.scope, pulumi.ResourceOptions(parent=self)
        self._tags = self._scope.tags.of(queue=args.queue)
        self._sessions_arn = args.sessions_arn if args.platform.exec_log_arn is None else args.platform.exec_log_arn
        logs = aws.cloudwatch.LogGroup(
            name,
            name=self._scope.names.log_group(name),
            retention_in_days=self._platform.log_days,
            kms_key_id=self._platform.key_arn,
            tags=self._tags,
            opts=self._child,
        )
        execution, may_start = self._execution_role(logs)
        task, may_run = self._task_role()
        self.service = self._service(self._task_definition(logs, execution, task), [*may_start, *may_run])
        self.register_outputs({"serviceName": self.service.name})

    def _execution_role(self, logs: aws.cloudwatch.LogGroup) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
        """What ECS itself needs to start a task: pull the image, read the secrets, open the log."""
        platform = self._platform
        role = self._role("execution")
        secrets = sorted({**platform.secrets, **self._args.secrets}.items())
        arns = [pulumi.Output.from_input(reference).apply(secret_arn) for _, reference in secrets]
        grant = aws.iam.RolePolicy(
            f"{self._name}-execution",
            role=role.name,
            policy=policy(
                [
                    allow(["ecr:GetAuthorizationToken"], ["*"]),
                    allow(
                        ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                        [platform.repository_arn],
                    ),
                    allow(
                        ["logs:CreateLogStream", "logs:PutLogEvents"],
                        [pulumi.Output.concat(logs.arn, ":*")],
                    ),
                    # A policy without resources is refused.
                    *(self._reads(arns) if arns else []),
                ]
            ),
            opts=self._child,
        )
        return role, [grant]

    def _reads(self, arns: list[pulumi.Output[str]]) -> list[Json]:
        return [
            allow(["secretsmanager:GetSecretValue"], arns),
            allow(
                ["kms:Decrypt"],
                [self._platform.key_arn],
                StringEquals={
                    "kms:ViaService": pulumi.Output.concat("secretsmanager.", self._scope.region, ".amazonaws.com")
                },
            ),
        ]

    def _task_role(self) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
        """What the service's own AWS calls need."""
        role = self._role("task")
        grants: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                f"{self._name}-task-{index + 1}", role=role.name, policy_arn=arn, opts=self._child
            )
            for index, arn in enumerate(self._args.policies)
        ]
        platform = self._platform
        sessions = [] if self._sessions_arn is None else exec_sessions(self._sessions_arn, platform.key_arn)
        if statements := [*platform.statements, *self._args.statements, *sessions]:
            own = policy(statements)
            grants.append(aws.iam.RolePolicy(f"{self._name}-task", role=role.name, policy=own, opts=self._child))
        return role, grants

    def _role(self, kind: str) -> aws.iam.Role:
        return aws.iam.Role(
            f"{self._name}-{kind}",
            name=self._scope.names.role(self._name, kind),
            assume_role_policy=trust(self._scope, "ecs-tasks.amazonaws.com", self._scope.arn("ecs", "*")),
            tags=self._tags,
            opts=self._child,
        )

    def _task_definition(
        self, logs: aws.cloudwatch.LogGroup, execution: aws.iam.Role, task: aws.iam.Role
    ) -> aws.ecs.TaskDefinition:
        args, platform = self._args, self._platform
        definition = container(
            "service",
            image=platform.image,
            command=args.command,
            cpu=args.task.container_cpu,
            memory=args.task.container_memory,
            memory_reservation=args.task.memory_reservation,
            stop_timeout=platform.stop_timeout,
            environment={**platform.environment, **args.environment},
            secrets={**platform.secrets, **args.secrets},
            log_group=logs.name,
            region=self._scope.region,
            writable=self._sessions_arn is not None,
        )
        return aws.ecs.TaskDefinition(
            self._name,
            family=self._scope.names.of(self._name),
            cpu=str(args.task.cpu),
            memory=str(args.task.memory),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform=aws.ecs.TaskDefinitionRuntimePlatformArgs(
                cpu_architecture=platform.architecture, operating_system_family="LINUX"
            ),
            execution_role_arn=execution.arn,
            task_role_arn=task.arn,
            volumes=[aws.ecs.TaskDefinitionVolumeArgs(name=SCRATCH_VOLUME)],
            container_definitions=pulumi.Output.json_dumps([definition]),
            tags=self._tags,
            opts=self._child,
        )

    def _service(self, definition: aws.ecs.TaskDefinition, grants: list[pulumi.Resource]) -> aws.ecs.Service:
        args, platform = self._args, self._platform
        return aws.ecs.Service(
            self._name,
            name=self._scope.names.of(self._name),
            cluster=platform.cluster_arn,
            task_definition=definition.arn,
            desired_count=args.desired,
            capacity_provider_strategies=_capacity(args.spot),
            platform_version="LATEST",
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=platform.subnet_ids, security_groups=[platform.security_group_id], assign_public_ip=False
            ),
            deployment_minimum_healthy_percent=MINIMUM_HEALTHY_PERCENT,
            deployment_maximum_percent=maximum_percent(args.fewest),
            deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            alarms=_alarms(args.alarms),
            availability_zone_rebalancing="ENABLED",
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            enable_execute_command=self._sessions_arn is not None,
            # A deployment that ECS rolls back must fail here, too.
            wait_for_steady_state=True,
            tags=self._tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["desiredCount"] if args.scaled else None,
                # A task that starts before its role may read the secret counts as a failed deployment.
                depends_on=[*grants, *platform.after],
                custom_timeouts=pulumi.CustomTimeouts(
                    create="30m", update=f"{update_minutes(args.protection)}m", delete="20m"
                ),
            ),
        )


def task_protection(scope: Scope, cluster_name: str) -> Json:
    """Return the statement with which a busy task keeps itself from being scaled in."""
    return allow(
        ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"],
        [scope.arn("ecs", f"task/{cluster_name}/*")],
    )


def exec_sessions(log_arn: pulumi.Input[str], key_arn: pulumi.Input[str]) -> list[Json]:
    """Return what a container needs for sessions of ECS Exec: their channel, their log, and the key of both."""
    return [
        allow(
            [
                f"ssmmessages:{action}{channel}Channel"
                for action in ("Create", "Open")
                for channel in ("Control", "Data")
            ],
            ["*"],
        ),
        allow(["logs:DescribeLogGroups"], ["*"]),
        allow(
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [log_arn, pulumi.Output.concat(log_arn, ":*")],
        ),
        allow(["kms:Decrypt"], [key_arn]),
    ]


def _alarms(names: Sequence[pulumi.Input[str]]) -> aws.ecs.ServiceAlarmsArgs | None:
    return aws.ecs.ServiceAlarmsArgs(alarm_names=names, enable=True, rollback=True) if names else None


def _capacity(spot: config.Spot | None) -> list[aws.ecs.ServiceCapacityProviderStrategyArgs]:
    return [
        aws.ecs.ServiceCapacityProviderStrategyArgs(
            capacity_provider=share.provider, base=share.base, weight=share.weight
        )
        for share in capacity(spot.base if spot else 1, spot.percent if spot else 0)
    ]
