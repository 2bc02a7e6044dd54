"""The private network: tasks and Redis have no public address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.common import Scope
from infra.components.endpoints import Endpoints, EndpointsArgs
from infra.components.vpc import Vpc, VpcArgs
from infra.plan.egress import TLS_PORT, Opening, openings
from infra.plan.endpoints import GATEWAYS, interfaces
from infra.plan.existing import Subnet, check_subnets
from infra.plan.names import hyphens
from service.fleet import REDIS_PORT


@dataclass(frozen=True)
class NetworkArgs:
    """Arguments of `Network`.

    Attributes:
        scope: The stack.
        settings: Our own VPC or one that exists, NAT, what tasks may reach.
        wait_for: Addresses that must answer before a worker starts.
        exec: Whether ECS Exec is on anywhere; it has APIs of its own.
        log_days: Days to keep the flow log.
        key_arn: KMS key of the flow log.
    """

    scope: Scope
    settings: config.Network
    wait_for: Sequence[str]
    exec: bool
    log_days: int
    key_arn: pulumi.Input[str]


class Network(pulumi.ComponentResource):
    """Private subnets, our own or existing ones, with endpoints and security groups from group to group.

    Attributes:
        vpc_id: The VPC.
        private_subnet_ids: One subnet a zone, for tasks and Redis.
        tasks_security_group_id: Group of every task.
        redis_security_group_id: Group of Redis: the tasks may come in, nothing goes out.
    """

    vpc_id: pulumi.Output[str]
    private_subnet_ids: list[pulumi.Output[str]]
    tasks_security_group_id: pulumi.Output[str]
    redis_security_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the network."""
        super().__init__("celery-fleet:index:Network", name, None, opts)
        settings = args.settings
        self._scope, self._child = args.scope, pulumi.ResourceOptions(parent=self)
        if settings.vpc_id is None:
            vpc = Vpc("main", VpcArgs(args.scope, settings, args.log_days, args.key_arn), self._child)
            self.vpc_id, self.private_subnet_ids, tables = vpc.vpc_id, vpc.private_subnet_ids, vpc.route_table_ids
        else:
            self.vpc_id = pulumi.Output.from_input(settings.vpc_id)
            self.private_subnet_ids = _existing(settings.vpc_id, settings.subnet_ids)
            tables = [pulumi.Output.from_input(table) for table in settings.route_table_ids]
        tasks = self._group("tasks", "Celery tasks on Fargate")
        redis = self._group("redis", "Redis of the Celery fleet")
        endpoints = Endpoints(
            "endpoints",
            EndpointsArgs(
                scope=args.scope,
                vpc_id=self.vpc_id,
                subnet_ids=self.private_subnet_ids,
                route_table_ids=tables,
                tasks_security_group_id=tasks.id,
                interfaces=interfaces(settings.nat == "none", args.exec, settings.endpoints),
                accounts=settings.accounts,
            ),
            self._child,
        )
        self._redis_rules(tasks, redis)
        self._aws_rules(tasks, endpoints.security_group_id)
        listed = [Opening(one.to, one.port, one.description) for one in settings.egress]
        for opening in openings(settings.egress_cidrs, listed, args.wait_for):
            part, to = f"{hyphens(opening.to)}-{opening.port}", {opening.kind: opening.to}
            self._out(tasks, part, opening.port, opening.description, **to)
        if settings.nat == "none" and not settings.egress and not settings.egress_cidrs:
            pulumi.log.warn(
                "network.nat is none: tasks reach Redis and AWS' endpoints only, so tasks that call anything else, "
                "as those of sync_queue do, will fail",
                self,
            )
        self.tasks_security_group_id, self.redis_security_group_id = tasks.id, redis.id
        self.register_outputs({"vpcId": self.vpc_id, "privateSubnetIds": self.private_subnet_ids})

    def _tags(self, part: str) -> dict[str, str]:
        return self._scope.tags.of(self._scope.names.of(part))

    def _group(self, part: str, description: str) -> aws.ec2.SecurityGroup:
        # No fixed name: a replacement must exist before the old group can go.
        return aws.ec2.SecurityGroup(
            part, vpc_id=self.vpc_id, description=description, tags=self._tags(part), opts=self._child
        )

    def _redis_rules(self, tasks: aws.ec2.SecurityGroup, redis: aws.ec2.SecurityGroup) -> None:
        aws.vpc.SecurityGroupIngressRule(
            "redis-from-tasks",
            security_group_id=redis.id,
            referenced_security_group_id=tasks.id,
            description="Tasks use broker and results",
            ip_protocol="tcp",
            from_port=REDIS_PORT,
            to_port=REDIS_PORT,
            tags=self._tags("redis-from-tasks"),
            opts=self._child,
        )
        self._out(tasks, "redis", REDIS_PORT, "Broker and results", peer=redis.id)

    def _aws_rules(self, tasks: aws.ec2.SecurityGroup, endpoints: pulumi.Output[str] | None) -> None:
        for service in GATEWAYS:
            name = pulumi.Output.concat("com.amazonaws.", self._scope.region, ".", service)
            addresses = aws.ec2.get_prefix_list_output(name=name).id
            self._out(tasks, service, TLS_PORT, f"{service} through its gateway endpoint", prefix_list=addresses)
        if endpoints is not None:
            self._out(tasks, "endpoints", TLS_PORT, "AWS APIs through their interface endpoints", peer=endpoints)

    def _out(
        self,
        group: aws.ec2.SecurityGroup,
        part: str,
        port: int,
        description: str,
        *,
        peer: pulumi.Input[str] | None = None,
        prefix_list: pulumi.Input[str] | None = None,
        cidr: str | None = None,
    ) -> None:
        """Let `group` open connections to one port of a security group (`peer`), a prefix list or a range."""
        aws.vpc.SecurityGroupEgressRule(
            f"tasks-to-{part}",
            security_group_id=group.id,
            referenced_security_group_id=peer,
            prefix_list_id=prefix_list,
            cidr_ipv4=cidr,
            description=description,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            tags=self._tags(f"tasks-to-{part}"),
            opts=self._child,
        )


def _existing(vpc_id: str, subnet_ids: Sequence[str]) -> list[pulumi.Output[str]]:
    """Return the subnets once AWS has said that they are what they must be."""
    found = pulumi.Output.all(*(aws.ec2.get_subnet_output(id=one) for one in subnet_ids))

    def check(subnets: Sequence[Any]) -> list[str]:
        described = [Subnet(s.id, s.vpc_id, s.availability_zone, s.map_public_ip_on_launch) for s in subnets]
        return check_subnets(vpc_id, described)

    checked = found.apply(check)

    def pick(index: int) -> pulumi.Output[str]:
        return checked.apply(lambda ids: ids[index])

    return [pick(index) for index in range(len(subnet_ids))]
