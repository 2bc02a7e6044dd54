"""The private network: tasks and Redis have no public address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.common import Scope, allow, policy, trust
from infra.plan.cidr import subnets
from service.fleet import REDIS_PORT


@dataclass(frozen=True)
class NetworkArgs:
    """Arguments of `Network`.

    Attributes:
        scope: The stack.
        settings: Addresses, zones, NAT.
        log_days: Days to keep the flow log.
        key_arn: KMS key of the flow log.
    """

    scope: Scope
    settings: config.Network
    log_days: int
    key_arn: pulumi.Input[str]


class Network(pulumi.ComponentResource):
    """A VPC with private subnets in several zones, NAT out of them, and security groups from group to group.

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
        self._scope, self._child = args.scope, pulumi.ResourceOptions(parent=self)
        self._vpc = aws.ec2.Vpc(
            name,
            cidr_block=args.settings.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._tags("vpc"),
            opts=self._child,
        )
        # Nobody can use by accident what allows nothing.
        aws.ec2.DefaultSecurityGroup(
            "default", vpc_id=self._vpc.id, ingress=[], egress=[], tags=self._tags("unused"), opts=self._child
        )
        tables = self._subnets(args.settings)
        self._gateway_endpoints(tables)
        self._security_groups(args.settings)
        self._flow_log(args)
        self.vpc_id = self._vpc.id
        self.register_outputs({"vpcId": self.vpc_id, "privateSubnetIds": self.private_subnet_ids})

    def _tags(self, part: str) -> dict[str, str]:
        return self._scope.tags.of(self._scope.names.of(part))

    def _subnets(self, settings: config.Network) -> list[aws.ec2.RouteTable]:
        """Create subnets, NAT and routes; return the private route tables."""
        zone_names = aws.get_availability_zones_output(
            state="available",
            # Local Zones offer neither NAT gateways nor Fargate.
            filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
        ).names
        plan = subnets(settings.cidr, settings.zones)
        zones = [_zone(zone_names, index, settings.zones) for index in range(settings.zones)]
        internet = aws.ec2.InternetGateway(
            "internet", vpc_id=self._vpc.id, tags=self._tags("internet"), opts=self._child
        )
        public_table = aws.ec2.RouteTable("public", vpc_id=self._vpc.id, tags=self._tags("public"), opts=self._child)
        public_route = aws.ec2.Route(
            "public",
            route_table_id=public_table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=internet.id,
            opts=self._child,
        )
        gateways = [
            self._nat(index, cidr, zones[index], public_table, public_route)
            for index, cidr in enumerate(plan.public[:1] if settings.nat == "single" else plan.public)
        ]
        self.private_subnet_ids, tables = [], []
        for index, cidr in enumerate(plan.private):
            part = f"private-{index + 1}"
            subnet = aws.ec2.Subnet(
                part,
                vpc_id=self._vpc.id,
                cidr_block=cidr,
                availability_zone=zones[index],
                map_public_ip_on_launch=False,
                tags=self._tags(part),
                opts=self._child,
            )
            table = aws.ec2.RouteTable(part, vpc_id=self._vpc.id, tags=self._tags(part), opts=self._child)
            aws.ec2.Route(
                part,
                route_table_id=table.id,
                destination_cidr_block="0.0.0.0/0",
                nat_gateway_id=gateways[min(index, len(gateways) - 1)].id,
                opts=self._child,
            )
            aws.ec2.RouteTableAssociation(part, subnet_id=subnet.id, route_table_id=table.id, opts=self._child)
            self.private_subnet_ids.append(subnet.id)
            tables.append(table)
        return tables

    def _nat(
        self,
        index: int,
        cidr: str,
        zone: pulumi.Output[str],
        table: aws.ec2.RouteTable,
        route: aws.ec2.Route,
    ) -> aws.ec2.NatGateway:
        """Create a public subnet that holds nothing but a NAT gateway."""
        part = f"public-{index + 1}"
        subnet = aws.ec2.Subnet(
            part,
            vpc_id=self._vpc.id,
            cidr_block=cidr,
            availability_zone=zone,
            map_public_ip_on_launch=False,
            tags=self._tags(part),
            opts=self._child,
        )
        aws.ec2.RouteTableAssociation(part, subnet_id=subnet.id, route_table_id=table.id, opts=self._child)
        address = aws.ec2.Eip(f"nat-{index + 1}", domain="vpc", tags=self._tags(f"nat-{index + 1}"), opts=self._child)
        return aws.ec2.NatGateway(
            f"nat-{index + 1}",
            allocation_id=address.allocation_id,
            subnet_id=subnet.id,
            tags=self._tags(f"nat-{index + 1}"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[route]),
        )

    def _gateway_endpoints(self, tables: list[aws.ec2.RouteTable]) -> None:
        """Keep S3 (image layers) and DynamoDB off the NAT gateways: these endpoints cost nothing."""
        self._prefix_lists: dict[str, pulumi.Output[str]] = {}
        for service in ("s3", "dynamodb"):
            endpoint = aws.ec2.VpcEndpoint(
                service,
                vpc_id=self._vpc.id,
                service_name=pulumi.Output.concat("com.amazonaws.", self._scope.region, ".", service),
                vpc_endpoint_type="Gateway",
                route_table_ids=[table.id for table in tables],
                tags=self._tags(service),
                opts=self._child,
            )
            self._prefix_lists[service] = endpoint.prefix_list_id

    def _security_groups(self, settings: config.Network) -> None:
        tasks = self._security_group("tasks", "Celery tasks on Fargate")
        redis = self._security_group("redis", "Redis of the Celery fleet")
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
        aws.vpc.SecurityGroupEgressRule(
            "tasks-to-redis",
            security_group_id=tasks.id,
            referenced_security_group_id=redis.id,
            description="Broker and results",
            ip_protocol="tcp",
            from_port=REDIS_PORT,
            to_port=REDIS_PORT,
            tags=self._tags("tasks-to-redis"),
            opts=self._child,
        )
        for service, prefix_list in self._prefix_lists.items():
            self._tls_out(tasks, service, f"{service} through its gateway endpoint", prefix_list=prefix_list)
        for index, cidr in enumerate(settings.egress_cidrs):
            self._tls_out(tasks, f"out-{index + 1}", "AWS APIs and what the tasks call, through NAT", cidr=cidr)
        self.tasks_security_group_id, self.redis_security_group_id = tasks.id, redis.id

    def _security_group(self, part: str, description: str) -> aws.ec2.SecurityGroup:
        # No fixed name: a replacement must exist before the old group can go.
        return aws.ec2.SecurityGroup(
            part, vpc_id=self._vpc.id, description=description, tags=self._tags(part), opts=self._child
        )

    def _tls_out(
        self,
        group: aws.ec2.SecurityGroup,
        part: str,
        description: str,
        cidr: str | None = None,
        prefix_list: pulumi.Output[str] | None = None,
    ) -> None:
        aws.vpc.SecurityGroupEgressRule(
            f"tasks-to-{part}",
            security_group_id=group.id,
            cidr_ipv4=cidr,
            prefix_list_id=prefix_list,
            description=description,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            tags=self._tags(f"tasks-to-{part}"),
            opts=self._child,
        )

    def _flow_log(self, args: NetworkArgs) -> None:
        scope = self._scope
        group = aws.cloudwatch.LogGroup(
            "flow",
            name=scope.names.log_group("flow"),
            retention_in_days=args.log_days,
            kms_key_id=args.key_arn,
            tags=scope.tags.of(),
            opts=self._child,
        )
        role = aws.iam.Role(
            "flow",
            name=scope.names.role("flow-log", "delivery"),
            assume_role_policy=trust(scope, "vpc-flow-logs.amazonaws.com", scope.arn("ec2", "vpc-flow-log/*")),
            tags=scope.tags.of(),
            opts=self._child,
        )
        writing = aws.iam.RolePolicy(
            "flow",
            role=role.name,
            policy=policy(
                [
                    allow(
                        ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                        [group.arn, pulumi.Output.concat(group.arn, ":*")],
                    ),
                    allow(["logs:DescribeLogGroups"], ["*"]),
                ]
            ),
            opts=self._child,
        )
        aws.ec2.FlowLog(
            "flow",
            vpc_id=self._vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags=self._tags("flow"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[writing]),
        )


def _zone(names: pulumi.Output[Sequence[str]], index: int, wanted: int) -> pulumi.Output[str]:
    def pick(zones: Sequence[str]) -> str:
        if len(zones) < wanted:
            raise ValueError(f"network.zones: {wanted} is more than this region has; at most {len(zones)}")
        return sorted(zones)[index]

    return names.apply(pick)
