"""Networks of other kinds: a VPC that exists, and one without NAT."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.plan.egress import Opening, closed_ports, openings, targets
from infra.plan.endpoints import interfaces
from infra.plan.existing import Subnet, check_subnets
from scripts.checks.views import allowed
from scripts.render import Render
from tests.infra.renders import Renders
from tests.infra.test_services import container_of, statements

VPC = "vpc-0123456789abcdef0"
SUBNETS = ["subnet-00000000", "subnet-00000001", "subnet-00000002"]
TOPIC = "arn:aws:sns:eu-central-1:123456789012:on-call"


@pytest.fixture(scope="module")
def existing(renders: Renders) -> Render:
    """A VPC of somebody else's, with its own way out."""
    return renders.of(
        "prod",
        {
            "network": {
                "vpcId": VPC,
                "subnetIds": SUBNETS,
                "egress": [
                    {"to": "sg-12345678", "port": 27017, "description": "MongoDB"},
                    {"to": "10.0.0.0/16", "port": 5432, "description": "PostgreSQL"},
                ],
                "endpoints": ["sqs"],
                "accounts": ["210987654321"],
            },
            "waitFor": ["mongodb://a,b/?replicaSet=rs0", "tcp://10.9.9.9:5000", "https://shop.example/health"],
            "exec": True,
            "alarms": {"topicArn": TOPIC},
            "tags": {"CostCenter": "42"},
        },
    )


@pytest.fixture(scope="module")
def alone(renders: Renders) -> Render:
    """No way out but endpoints."""
    return renders.of("prod", {"network": {"nat": "none"}, "exec": True})


def egress(stack: Render) -> dict[str, dict[str, Any]]:
    return {rule.name.removeprefix("tasks-to-"): rule.inputs for rule in stack.of_type("SecurityGroupEgressRule")}


def endpoints(stack: Render) -> dict[str, dict[str, Any]]:
    return {endpoint.name: endpoint.inputs for endpoint in stack.of_type("VpcEndpoint")}


def test_nothing_of_an_existing_network_is_made_but_groups_and_endpoints(existing: Render) -> None:
    made = {r.type.split(":")[1].split("/")[0] + "/" + r.type.rpartition(":")[2] for r in existing.resources}
    network = {kind for kind in made if kind.startswith(("ec2/", "vpc/"))}
    assert network == {
        "ec2/SecurityGroup",
        "ec2/VpcEndpoint",
        "vpc/SecurityGroupIngressRule",
        "vpc/SecurityGroupEgressRule",
    }
    assert all(group.inputs["vpcId"] == VPC for group in existing.of_type("securityGroup:SecurityGroup"))
    assert existing.one("SubnetGroup").inputs["subnetIds"] == SUBNETS
    for service in existing.of_type("ecs/service:Service"):
        assert service.inputs["networkConfiguration"]["subnets"] == SUBNETS
    assert existing.outputs["vpc"] == VPC


def test_endpoints_that_a_stack_names_are_made_in_its_subnets(existing: Render) -> None:
    (sqs,) = endpoints(existing).values()
    assert sqs["serviceName"] == "com.amazonaws.eu-central-1.sqs"
    assert sqs["subnetIds"] == SUBNETS
    assert "policy" not in sqs, "not every service lets its endpoint have one"


def test_what_the_stack_names_and_waits_for_can_be_reached(existing: Render) -> None:
    rules = egress(existing)
    assert set(rules) == {
        "redis",
        "s3",
        "dynamodb",
        "endpoints",
        "0-0-0-0-0-443",
        "sg-12345678-27017",
        "10-0-0-0-16-5432",
        "10-9-9-9-32-5000",
    }
    assert rules["sg-12345678-27017"]["referencedSecurityGroupId"] == "sg-12345678"
    assert rules["sg-12345678-27017"]["description"] == "MongoDB"
    assert rules["10-0-0-0-16-5432"]["cidrIpv4"] == "10.0.0.0/16"
    assert rules["10-9-9-9-32-5000"]["cidrIpv4"] == "10.9.9.9/32"
    for rule in rules.values():
        assert rule["fromPort"] == rule["toPort"]
        assert len({"cidrIpv4", "prefixListId", "referencedSecurityGroupId"} & set(rule)) == 1


def test_without_nat_there_is_no_way_to_the_internet(alone: Render) -> None:
    for kind in ("InternetGateway", "NatGateway", "ec2/eip:Eip", "ec2/route:Route"):
        assert not alone.of_type(kind)
    assert {subnet.name for subnet in alone.of_type("ec2/subnet:Subnet")} == {"private-1", "private-2", "private-3"}
    assert set(egress(alone)) == {"redis", "s3", "dynamodb", "endpoints"}
    assert not any("cidrIpv4" in rule for rule in egress(alone).values())


def test_without_nat_every_api_that_tasks_call_has_an_endpoint(alone: Render) -> None:
    made = endpoints(alone)
    assert set(made) == {
        *("s3", "dynamodb", "ecr.api", "ecr.dkr", "logs", "monitoring", "secretsmanager"),
        *("kms", "ssmmessages"),
    }
    tables = {f"private-{number}-id" for number in (1, 2, 3)}
    for name, endpoint in made.items():
        if name in ("s3", "dynamodb"):
            assert set(endpoint["routeTableIds"]) == tables
            continue
        assert endpoint["vpcEndpointType"] == "Interface"
        assert endpoint["privateDnsEnabled"] is True
        assert set(endpoint["subnetIds"]) == tables
        assert endpoint["securityGroupIds"] == ["endpoints-id"]
        if name != "ssmmessages":
            (own,) = json.loads(endpoint["policy"])["Statement"]
            assert own["Condition"] == {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}


def test_only_tasks_reach_the_interfaces(alone: Render) -> None:
    (rule,) = (r for r in alone.of_type("SecurityGroupIngressRule") if r.inputs["securityGroupId"] == "endpoints-id")
    assert rule.inputs["referencedSecurityGroupId"] == "tasks-id"
    assert (rule.inputs["fromPort"], rule.inputs["toPort"], rule.inputs["ipProtocol"]) == (443, 443, "tcp")
    assert rule.inputs["description"]


def test_services_wait_for_the_endpoints_over_which_they_start(alone: Render) -> None:
    needed = {endpoint.urn for endpoint in alone.of_type("VpcEndpoint")}
    for service in alone.of_type("ecs/service:Service"):
        assert needed <= set(service.dependencies)


def test_exec_makes_the_file_system_writable_and_is_logged(existing: Render, prod: Render) -> None:
    for stack, on in ((existing, True), (prod, False)):
        for service in stack.of_type("ecs/service:Service"):
            if service.name == "flower":
                continue  # has sessions of its own: test_flower.py
            assert service.inputs["enableExecuteCommand"] is on
            granted = {action for s in allowed(stack, f"{service.inputs['name']}-task") for action in s["Action"]}
            channels = {action for action in granted if action.startswith("ssmmessages:")}
            assert len(channels) == (4 if on else 0)
            assert ("logs:PutLogEvents" in granted) is on
        for definition in stack.of_type("TaskDefinition"):
            assert container_of(definition)["readonlyRootFilesystem"] is not (on or definition.name == "flower")
    sessions = existing.one("ecs/cluster:Cluster").inputs["configuration"]["executeCommandConfiguration"]
    assert sessions["logging"] == "OVERRIDE"
    assert sessions["kmsKeyId"]
    assert sessions["logConfiguration"]["cloudWatchEncryptionEnabled"] is True
    group = existing.one("logGroup:LogGroup", "exec").inputs["name"]
    assert sessions["logConfiguration"]["cloudWatchLogGroupName"] == group
    (log,) = (s for s in statements(existing, "celery-task") if "logs:PutLogEvents" in s["Action"])
    assert all(resource.endswith((f":log-group:{group}", f":log-group:{group}:*")) for resource in log["Resource"])


def test_an_existing_topic_hears_of_everything(existing: Render) -> None:
    assert not existing.of_type("sns/topic:Topic")
    told = [a.inputs for a in existing.of_type("metricAlarm:MetricAlarm") if TOPIC in a.inputs["alarmActions"]]
    assert len(told) > len(existing.of_type("ecs/service:Service"))
    assert {target.inputs["arn"] for target in existing.of_type("EventTarget")} == {TOPIC}


def test_further_tags_are_on_everything(existing: Render) -> None:
    tagged = [r for r in existing.resources if "tags" in r.inputs]
    assert tagged
    assert all(resource.inputs["tags"]["CostCenter"] == "42" for resource in tagged)


def test_targets_of_addresses() -> None:
    assert targets("tcp://db:5432") == (("db", 5432),)
    assert targets("https://shop.example/x") == (("shop.example", 443),)
    assert targets("http://shop.example:8080") == (("shop.example", 8080),)
    assert targets("mongodb://a,b:27018/?replicaSet=rs0") == (("a", 27017), ("b", 27018))
    for wrong in ("tcp://db", "tcp://db:x", "tcp://db:70000", "https://:443"):
        with pytest.raises(ValueError, match="names no port"):
            targets(wrong)


def test_each_opening_once_and_addresses_without_a_name_by_themselves() -> None:
    listed = [Opening("10.0.0.0/8", 443, "mine"), Opening("10.1.1.1/32", 25, "mail")]
    found = openings(["10.0.0.0/8"], listed, ["tcp://10.1.1.1:25", "tcp://10.2.2.2:26", "tcp://name:27"])
    assert [(one.to, one.port) for one in found] == [("10.0.0.0/8", 443), ("10.1.1.1/32", 25), ("10.2.2.2/32", 26)]
    assert found[1].description == "mail"
    assert closed_ports("mongodb://a,b:27018", [27018]) == (27017,)
    assert closed_ports("tcp://10.1.1.1:25", []) == ()


def test_with_nat_only_named_endpoints_are_made() -> None:
    assert interfaces(without_nat=False, exec_=True, named=()) == ()
    assert [one.service for one in interfaces(without_nat=False, exec_=True, named=("sqs",))] == ["sqs"]
    assert "ssmmessages" not in [one.service for one in interfaces(without_nat=True, exec_=False, named=())]


def test_subnets_that_cannot_be_used_are_named_all_at_once() -> None:
    good = [Subnet("subnet-1", VPC, "a", public=False), Subnet("subnet-2", VPC, "b", public=False)]
    assert check_subnets(VPC, good) == ["subnet-1", "subnet-2"]
    with pytest.raises(ValueError, match="subnetIds") as caught:
        check_subnets(VPC, [*good, Subnet("subnet-3", "vpc-other", "b", public=True)])
    assert str(caught.value).splitlines() == [
        f"network.subnetIds.2: subnet-3 belongs to vpc-other, not to vpcId {VPC}",
        "network.subnetIds.2: subnet-3 gives out public addresses; take a private subnet",
        "network.subnetIds.2: subnet-3 is a second one in b; take one subnet a zone",
    ]
