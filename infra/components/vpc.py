"""A VPC of our own: private subnets in several zones, and NAT out of them if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.common import Scope, allow, policy, trust
from infra.plan.acl import Entry, private_entries
from infra.plan.cidr import subnets

_EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class VpcArgs:
    """Arguments of `Vpc`.

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


class Vpc(pulumi.ComponentResource):
    """A VPC whose private subnets have no public address, a flow log, and nothing open by default.

    Attributes:
        vpc_id: The VPC.
        private_subnet_ids: One subnet a zone, for tasks and Redis.
        route_table_ids: Their route tables.
    """

    vpc_id: pulumi.Output[str]
    private_subnet_ids: list[pulumi.Output[str]]
    route_table_ids: list[pulumi.Output[str]]

    def __init__(self, name: str, args: VpcArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the VPC."""
        super().__init__("celery-fleet:index:Vpc", name, None, opts)
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
        self._subnets(args.settings)
        self._access_list(args.settings.cidr)
        self._flow_log(args)
        self.vpc_id = self._vpc.id
        self.register_outputs({"vpcId": self.vpc_id, "privateSubnetIds": self.private_subnet_ids})

    def _tags(self, part: str) -> dict[str, str]:
        return self._scope.tags.of(self._scope.names.of(part))

    def _subnets(self, settings: config.Network) -> None:
        """Create the private subnets with their routes, and the gateways that these lead to."""
        zone_names = aws.get_availability_zones_output(
            state="available",
            # Local Zones offer neither NAT gateways nor Fargate.
            filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
        ).names
        plan = subnets(settings.cidr, settings.zones)
        zones = [_zone(zone_names, index, settings.zones) for index in range(settings.zones)]
        gateways = self._gateways(settings.nat, plan.public, zones)
        self.private_subnet_ids, self.route_table_ids = [], []
        for index, cidr in enumerate(plan.private):
            part = f"private-{index + 1}"
            subnet = self._subnet(part, cidr, zones[index])
            table = aws.ec2.RouteTable(part, vpc_id=self._vpc.id, tags=self._tags(part), opts=self._child)
            if gateways:
                aws.ec2.Route(
                    part,
                    route_table_id=table.id,
                    destination_cidr_block=_EVERYWHERE,
                    nat_gateway_id=gateways[min(index, len(gateways) - 1)].id,
                    opts=self._child,
                )
            aws.ec2.RouteTableAssociation(part, subnet_id=subnet.id, route_table_id=table.id, opts=self._child)
            self.private_subnet_ids.append(subnet.id)
            self.route_table_ids.append(table.id)

    def _subnet(self, part: str, cidr: str, zone: pulumi.Output[str]) -> aws.ec2.Subnet:
        return aws.ec2.Subnet(
            part,
            vpc_id=self._vpc.id,
            cidr_block=cidr,
            availability_zone=zone,
            map_public_ip_on_launch=False,
            tags=self._tags(part),
            opts=self._child,
        )

    def _gateways(
        self, nat: str, cidrs: Sequence[str], zones: Sequence[pulumi.Output[str]]
    ) -> list[aws.ec2.NatGateway]:
        """Create the NAT gateways, and without any not even a way to the internet."""
        if nat == "none":
            return []
        internet = aws.ec2.InternetGateway(
            "internet", vpc_id=self._vpc.id, tags=self._tags("internet"), opts=self._child
        )
        table = aws.ec2.RouteTable("public", vpc_id=self._vpc.id, tags=self._tags("public"), opts=self._child)
        route = aws.ec2.Route(
            "public",
            route_table_id=table.id,
            destination_cidr_block=_EVERYWHERE,
            gateway_id=internet.id,
            opts=self._child,
        )
        return [
            self._nat(index, cidr, zones[index], table, route)
            for index, cidr in enumerate(cidrs[:1] if nat == "single" else cidrs)
        ]

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
        subnet = self._subnet(part, cidr, zone)
        aws.ec2.RouteTableAssociation(part, subnet_id=subnet.id, route_table_id=table.id, opts=self._child)
        address = aws.ec2.Eip(f"nat-{index + 1}", domain="vpc", tags=self._tags(f"nat-{index + 1}"), opts=self._child)
        return aws.ec2.NatGateway(
            f"nat-{index + 1}",
            allocation_id=address.allocation_id,
            subnet_id=subnet.id,
            tags=self._tags(f"nat-{index + 1}"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[route]),
        )

    def _access_list(self, cidr: str) -> None:
        """Let into the private subnets only what comes from the VPC, and answers."""
        ingress, egress = aws.ec2.NetworkAclIngressArgs, aws.ec2.NetworkAclEgressArgs
        aws.ec2.NetworkAcl(
            "private",
            vpc_id=self._vpc.id,
            subnet_ids=self.private_subnet_ids,
            ingress=[
                ingress(
                    rule_no=entry.number,
                    action="allow",
                    protocol=entry.protocol,
                    cidr_block=entry.source,
                    from_port=entry.first,
                    to_port=entry.last,
                    icmp_type=entry.icmp_type,
                    icmp_code=_icmp_code(entry),
                )
                for entry in private_entries(cidr)
            ],
            egress=[egress(rule_no=100, action="allow", protocol="-1", cidr_block=_EVERYWHERE, from_port=0, to_port=0)],
            tags=self._tags("private"),
            opts=self._child,
        )

    def _flow_log(self, args: VpcArgs) -> None:
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


def _icmp_code(entry: Entry) -> int | None:
    """Every code of the type, as EC2 writes it."""
    return None if entry.icmp_type is None else -1


def _zone(names: pulumi.Output[Sequence[str]], index: int, wanted: int) -> pulumi.Output[str]:
    def pick(zones: Sequence[str]) -> str:
        if len(zones) < wanted:
            raise ValueError(f"network.zones: {wanted} is more than this region has; at most {len(zones)}")
        return sorted(zones)[index]

    return names.apply(pick)
