"""The network is private: nothing opens by accident, and what is free is used."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import combinations
from typing import Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import GROUP, SERVICE
from scripts.render import Render, Resource

SECURITY_GROUP: Final = "ec2/securityGroup:SecurityGroup"
INGRESS: Final = "vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS: Final = "vpc/securityGroupEgressRule:SecurityGroupEgressRule"
VPC: Final = "ec2/vpc:Vpc"
ENDPOINT: Final = "ec2/vpcEndpoint:VpcEndpoint"
#: AWS' APIs that a task needs to start (image, secrets), log and publish metrics.
_CALLED: Final = ("ecr.api", "ecr.dkr", "logs", "monitoring", "secretsmanager")
_PEERS: Final = frozenset({"cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId"})
_EVERYBODY: Final = ("0.0.0.0/0", "::/0")


def _rules(render: Render) -> Iterator[Problem]:
    """Rules stand alone, name one peer and one port, and say what for."""
    for group in render.of_type(SECURITY_GROUP):
        for key in ("ingress", "egress"):
            if key in group.inputs:
                yield at(group, key, "rules in and beside a group fight each other")
        if not group.inputs.get("description"):
            yield at(group, "description", "is missing")
    for rule in (*render.of_type(INGRESS), *render.of_type(EGRESS)):
        inputs = rule.inputs
        if not inputs.get("description"):
            yield at(rule, "description", "is missing")
        if len(_PEERS & set(inputs)) != 1:
            yield at(rule, "", f"names {len(_PEERS & set(inputs))} peers, not one")
        if inputs["ipProtocol"] in ("-1", "all") or inputs.get("fromPort") != inputs.get("toPort"):
            yield at(rule, "ipProtocol", "opens more than one port")


def _open(render: Render) -> Iterator[Problem]:
    """Nobody comes in from addresses, and only TLS goes out to everybody."""
    for rule in render.of_type(INGRESS):
        if "cidrIpv4" in rule.inputs or "cidrIpv6" in rule.inputs:
            yield at(rule, "cidrIpv4", "lets addresses in; name a security group")
    for rule in render.of_type(EGRESS):
        peer = rule.inputs.get("cidrIpv4", rule.inputs.get("cidrIpv6"))
        if peer in _EVERYBODY and rule.inputs.get("fromPort") != 443:
            yield at(rule, "cidrIpv4", "only TLS may go out to everybody")


def _redis(render: Render) -> Iterator[Problem]:
    """Redis is reached by groups, over its port; it opens no connections."""
    for group in render.of_type(GROUP):
        guards = {
            f"{found.name}-id": found
            for found in render.of_type(SECURITY_GROUP)
            if found.urn in group.property_dependencies.get("securityGroupIds", [])
        }
        for guard in guards.values():
            if not any(rule.inputs["securityGroupId"] == f"{guard.name}-id" for rule in render.of_type(INGRESS)):
                yield at(guard, "", "nobody gets in")
        for rule in render.of_type(INGRESS):
            if rule.inputs["securityGroupId"] in guards and rule.inputs.get("fromPort") != group.inputs.get("port"):
                yield at(rule, "fromPort", f"Redis listens on {group.inputs.get('port')} only")
        for rule in render.of_type(EGRESS):
            if rule.inputs["securityGroupId"] in guards:
                yield at(rule, "securityGroupId", "Redis opens no connections")


def _gateways(render: Render) -> Iterator[Problem]:
    """The free gateway endpoints serve every private route table of a VPC that is made here."""
    tables = {f"{table.name}-id" for table in render.of_type("ec2/routeTable:RouteTable")} - _public_tables(render)
    if not render.of_type(VPC):
        return
    for service in ("s3", "dynamodb"):
        served: set[str] = set()
        for endpoint in render.of_type(ENDPOINT):
            inputs = endpoint.inputs
            if inputs["serviceName"].endswith(f".{service}") and inputs.get("vpcEndpointType") == "Gateway":
                served |= set(inputs.get("routeTableIds", []))
        if tables - served:
            yield Problem("network", f"no gateway endpoint of {service} for {', '.join(sorted(tables - served))}")


def _way_out(render: Render) -> Iterator[Problem]:
    """Without NAT, tasks reach what they start, log and publish with through interface endpoints, by its usual name."""
    if not render.of_type(VPC) or render.of_type("ec2/natGateway:NatGateway"):
        return
    homes = {
        subnet for service in render.of_type(SERVICE) for subnet in service.inputs["networkConfiguration"]["subnets"]
    }
    for name in _CALLED:
        found = [
            endpoint.inputs
            for endpoint in render.of_type(ENDPOINT)
            if endpoint.inputs["serviceName"].endswith(f".{name}") and endpoint.inputs.get("privateDnsEnabled")
        ]
        if not any(homes <= set(inputs.get("subnetIds", [])) for inputs in found):
            yield Problem("network", f"without NAT nothing leads to {name}")


def _public_tables(render: Render) -> set[str]:
    return {route.inputs["routeTableId"] for route in render.of_type("ec2/route:Route") if "gatewayId" in route.inputs}


def _private(render: Render) -> Iterator[Problem]:
    """Tasks and Redis live where no route leads to an internet gateway."""
    public = _public_subnets(render)
    homes = [(service, service.inputs["networkConfiguration"]["subnets"]) for service in render.of_type(SERVICE)]
    homes += [(group, group.inputs["subnetIds"]) for group in render.of_type("elasticache/subnetGroup:SubnetGroup")]
    for resource, subnets in homes:
        for subnet in subnets:
            if subnet in public:
                yield at(resource, "subnets", f"{subnet} is public")


def _public_subnets(render: Render) -> set[str]:
    return {
        association.inputs["subnetId"]
        for association in render.of_type("RouteTableAssociation")
        if association.inputs["routeTableId"] in _public_tables(render)
    }


def _subnets(render: Render) -> Iterator[Problem]:
    """Subnets do not overlap, give no public addresses away, and lie in several zones."""
    subnets = render.of_type("ec2/subnet:Subnet")
    for subnet in subnets:
        if subnet.inputs.get("mapPublicIpOnLaunch"):
            yield at(subnet, "mapPublicIpOnLaunch", "gives public addresses away")
    for one, two in combinations(subnets, 2):
        if ip_network(one.inputs["cidrBlock"]).overlaps(ip_network(two.inputs["cidrBlock"])):
            yield at(two, "cidrBlock", f"overlaps {one.name}")
    private = [subnet for subnet in subnets if f"{subnet.name}-id" not in _public_subnets(render)]
    if private and len({subnet.inputs["availabilityZone"] for subnet in private}) < 2:
        yield Problem("network", "the private subnets lie in one zone")


def _default_group(render: Render) -> Iterator[Problem]:
    """The group that everything joins by accident lets nothing through."""
    if render.of_type(VPC) and not render.of_type("DefaultSecurityGroup"):
        yield Problem("network", "the default security group keeps its rules")
    for group in render.of_type("DefaultSecurityGroup"):
        for key in ("ingress", "egress"):
            if group.inputs.get(key) != []:
                yield at(group, key, "must be empty")


def _flow_log(render: Render) -> Iterator[Problem]:
    """A VPC that is made here records what goes in and out, and may."""
    for vpc in render.of_type(VPC):
        logs = [log for log in render.of_type("FlowLog") if vpc.urn in log.property_dependencies.get("vpcId", [])]
        if not any(log.inputs["trafficType"] == "ALL" for log in logs):
            yield at(vpc, "", "has no flow log of all traffic")
        for log in logs:
            if not any(_writes(policy, log) for policy in render.of_type("rolePolicy:RolePolicy")):
                yield at(log, "", "does not wait for the policy that lets it write")


def _writes(policy: Resource, log: Resource) -> bool:
    return policy.urn in log.dependencies and "logs:PutLogEvents" in policy.inputs["policy"]


CHECKS: Final[Checks] = {
    "network.rules": _rules,
    "network.open": _open,
    "network.redis": _redis,
    "network.gateways": _gateways,
    "network.way-out": _way_out,
    "network.private": _private,
    "network.subnets": _subnets,
    "network.default-group": _default_group,
    "network.flow-log": _flow_log,
}
