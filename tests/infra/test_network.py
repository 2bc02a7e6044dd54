"""The network: private by default, and nothing opens by accident."""

from __future__ import annotations

import json
from itertools import pairwise

from scripts.render import Render


def test_zones_and_nat_as_the_environment_needs(staging: Render, prod: Render) -> None:
    for render, zones, gateways in ((staging, 2, 1), (prod, 3, 3)):
        subnets = render.of_type("ec2/subnet:Subnet")
        private = [subnet for subnet in subnets if subnet.name.startswith("private")]
        assert len({subnet.inputs["availabilityZone"] for subnet in private}) == zones
        assert len(render.of_type("NatGateway")) == gateways
        assert len(subnets) == zones + gateways, "public subnets hold nothing but NAT gateways"
        assert not any(subnet.inputs["mapPublicIpOnLaunch"] for subnet in subnets)


def test_every_private_subnet_leaves_through_the_gateway_of_its_zone(prod: Render) -> None:
    zone_of = {subnet.name: subnet.inputs["availabilityZone"] for subnet in prod.of_type("ec2/subnet:Subnet")}
    for route in prod.of_type("ec2/route:Route"):
        if route.name.startswith("private"):
            number = route.inputs["natGatewayId"].removeprefix("nat-").removesuffix("-id")
            assert zone_of[route.name] == zone_of[f"public-{number}"]
            assert "gatewayId" not in route.inputs


def test_nat_waits_for_its_way_out(stack: Render) -> None:
    for gateway in stack.of_type("NatGateway"):
        assert any(urn.endswith("ec2/route:Route::public") for urn in gateway.dependencies)


def test_gateway_endpoints_serve_every_private_subnet(stack: Render) -> None:
    endpoints = stack.of_type("VpcEndpoint")
    tables = {f"{table.name}-id" for table in stack.of_type("RouteTable") if table.name.startswith("private")}
    assert {endpoint.name for endpoint in endpoints} == {"s3", "dynamodb"}
    for endpoint in endpoints:
        assert endpoint.inputs["vpcEndpointType"] == "Gateway"
        assert set(endpoint.inputs["routeTableIds"]) == tables
        own, *more = json.loads(endpoint.inputs["policy"])["Statement"]
        assert own["Condition"]["StringEquals"] == {
            "aws:PrincipalAccount": "123456789012",
            "aws:ResourceAccount": ["123456789012"],
        }
        layers = [(s["Action"], s["Resource"]) for s in more]
        bucket = "arn:aws:s3:::prod-eu-central-1-starport-layer-bucket/*"
        assert layers == ([("s3:GetObject", bucket)] if endpoint.name == "s3" else [])


def test_only_tasks_reach_redis_and_only_over_its_port(stack: Render) -> None:
    (ingress,) = stack.of_type("SecurityGroupIngressRule")
    assert ingress.inputs["securityGroupId"] == "redis-id"
    assert ingress.inputs["referencedSecurityGroupId"] == "tasks-id"
    assert ingress.inputs["fromPort"] == ingress.inputs["toPort"] == 6379
    for group in stack.of_type("securityGroup:SecurityGroup"):
        assert not {"ingress", "egress"} & set(group.inputs), "rules in and beside a group fight each other"


def test_tasks_go_out_over_tls_or_to_redis_alone(stack: Render) -> None:
    rules = stack.of_type("SecurityGroupEgressRule")
    assert all(rule.inputs["securityGroupId"] == "tasks-id" for rule in rules), "Redis opens no connections"
    ports = {rule.name: rule.inputs["fromPort"] for rule in rules}
    assert ports == {
        "tasks-to-redis": 6379,
        "tasks-to-s3": 443,
        "tasks-to-dynamodb": 443,
        "tasks-to-0-0-0-0-0-443": 443,
    }
    for rule in rules:
        assert rule.inputs["fromPort"] == rule.inputs["toPort"]
        assert rule.inputs["ipProtocol"] == "tcp"
        assert len({"cidrIpv4", "prefixListId", "referencedSecurityGroupId"} & set(rule.inputs)) == 1


def test_the_private_subnets_let_in_their_own_network_and_answers(stack: Render) -> None:
    acl = stack.one("networkAcl:NetworkAcl").inputs
    private = {f"{s.name}-id" for s in stack.of_type("ec2/subnet:Subnet") if s.name.startswith("private")}
    assert set(acl["subnetIds"]) == private
    ingress = acl["ingress"]
    assert all(low["ruleNo"] < high["ruleNo"] for low, high in pairwise(ingress))
    inside, answers, _ = ingress
    assert (inside["cidrBlock"], inside["protocol"]) == (stack.one("ec2/vpc:Vpc").inputs["cidrBlock"], "-1")
    # Linux opens connections from ports 32768 to 60999.
    assert answers["fromPort"] <= 32768
    assert answers["toPort"] >= 60999
