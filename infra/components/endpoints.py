"""AWS' APIs inside the VPC: gateway endpoints for S3 and DynamoDB, interface endpoints where they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.common import Scope
from infra.plan.egress import TLS_PORT
from infra.plan.endpoints import GATEWAYS, Interface, own_data, own_principals


@dataclass(frozen=True)
class EndpointsArgs:
    """Arguments of `Endpoints`.

    Attributes:
        scope: The stack.
        vpc_id: The VPC.
        subnet_ids: Where the interfaces are, one subnet a zone.
        route_table_ids: Which get a route to the gateway endpoints; none leaves these out.
        tasks_security_group_id: Who may use the interfaces.
        interfaces: Which services have one.
        accounts: Other accounts whose buckets and tables may be used.
    """

    scope: Scope
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    route_table_ids: Sequence[pulumi.Input[str]]
    tasks_security_group_id: pulumi.Input[str]
    interfaces: Sequence[Interface]
    accounts: Sequence[str]


class Endpoints(pulumi.ComponentResource):
    """Endpoints with policies, and the security group of the interfaces, which only tasks reach.

    Attributes:
        security_group_id: Group of the interfaces; None without any.
    """

    security_group_id: pulumi.Output[str] | None

    def __init__(self, name: str, args: EndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the endpoints."""
        super().__init__("celery-fleet:index:Endpoints", name, None, opts)
        self._args, self._scope = args, args.scope
        self._child = pulumi.ResourceOptions(parent=self)
        if args.route_table_ids:
            for service in GATEWAYS:
                self._gateway(service)
        self.security_group_id = self._group(name) if args.interfaces else None
        for interface in args.interfaces:
            self._interface(interface, self.security_group_id)
        self.register_outputs({"securityGroupId": self.security_group_id})

    def _tags(self, part: str) -> dict[str, str]:
        return self._scope.tags.of(self._scope.names.of(part))

    def _service_name(self, service: str) -> pulumi.Output[str]:
        return pulumi.Output.concat("com.amazonaws.", self._scope.region, ".", service)

    def _gateway(self, service: str) -> None:
        """Keep S3 (image layers) and DynamoDB off the NAT gateways: these endpoints cost nothing."""
        scope = self._scope
        layers = pulumi.Output.concat("arn:", scope.partition, ":s3:::prod-", scope.region, "-starport-layer-bucket/*")
        aws.ec2.VpcEndpoint(
            service,
            vpc_id=self._args.vpc_id,
            service_name=self._service_name(service),
            vpc_endpoint_type="Gateway",
            route_table_ids=list(self._args.route_table_ids),
            policy=pulumi.Output.json_dumps(own_data(service, scope.account, self._args.accounts, layers)),
            tags=self._tags(service),
            opts=self._child,
        )

    def _group(self, name: str) -> pulumi.Output[str]:
        group = aws.ec2.SecurityGroup(
            name,
            vpc_id=self._args.vpc_id,
            description="Interface endpoints of the Celery fleet",
            tags=self._tags(name),
            opts=self._child,
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-from-tasks",
            security_group_id=group.id,
            referenced_security_group_id=self._args.tasks_security_group_id,
            description="Tasks call AWS APIs",
            ip_protocol="tcp",
            from_port=TLS_PORT,
            to_port=TLS_PORT,
            tags=self._tags(f"{name}-from-tasks"),
            opts=self._child,
        )
        return group.id

    def _interface(self, interface: Interface, group: pulumi.Output[str] | None) -> None:
        aws.ec2.VpcEndpoint(
            interface.service,
            vpc_id=self._args.vpc_id,
            service_name=self._service_name(interface.service),
            vpc_endpoint_type="Interface",
            subnet_ids=list(self._args.subnet_ids),
            security_group_ids=[group] if group is not None else [],
            # The SDKs' ordinary host names lead to the endpoint.
            private_dns_enabled=True,
            policy=pulumi.Output.json_dumps(own_principals(self._scope.account)) if interface.fenced else None,
            tags=self._tags(interface.service),
            opts=self._child,
        )
