"""The table of docs/security-controls.md, row by row, on the rendered prod stack."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.plan.container import secret_arn
from scripts.render import Render

DOCS = Path(__file__).parents[2] / "docs" / "security-controls.md"
_ROW = re.compile(r"^\| ([A-Za-z0-9]+\.\d+) \| [^|]+ \| (met|not met|does not apply) \| [^|]*\|$", re.MULTILINE)
ROWS: dict[str, str] = dict(_ROW.findall(DOCS.read_text()))

#: Names under which Security Hub (ECS.8) and people would look for a secret.
_SECRETIVE = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|AUTH", re.IGNORECASE)


def inputs(render: Render, type_: str) -> list[dict[str, Any]]:
    """Return the inputs of a type that must exist."""
    found = [resource.inputs for resource in render.of_type(type_)]
    assert found, f"the render has no {type_}"
    return found


def containers(render: Render) -> list[dict[str, Any]]:
    return [
        container
        for definition in inputs(render, "taskDefinition:TaskDefinition")
        for container in json.loads(definition["containerDefinitions"])
    ]


def every(type_: str, holds: Callable[[dict[str, Any]], object]) -> Callable[[Render], bool]:
    return lambda render: all(holds(one) for one in inputs(render, type_))


def every_container(holds: Callable[[dict[str, Any]], object]) -> Callable[[Render], bool]:
    return lambda render: all(holds(one) for one in containers(render))


def none_of(*starts: str) -> Callable[[Render], bool]:
    """No resource has a type that starts so."""
    return lambda render: not any(resource.type.startswith(starts) for resource in render.resources)


def grants(render: Render) -> list[dict[str, Any]]:
    """Return every statement of an identity's policy."""
    policies = [*inputs(render, "rolePolicy:RolePolicy"), *(r.inputs for r in render.of_type("iam/policy:Policy"))]
    return [s for policy in policies for s in json.loads(policy["policy"])["Statement"] if s["Effect"] == "Allow"]


def actions(statement: dict[str, Any]) -> list[str]:
    return [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]


def decrypts_with_every_key(statement: dict[str, Any]) -> bool:
    reads = {"*", "kms:*", "kms:Decrypt", "kms:Decrypt*", "kms:ReEncryptFrom", "kms:ReEncrypt*"} & set(
        actions(statement)
    )
    return bool(reads) and any(":key/*" in resource or resource == "*" for resource in statement["Resource"])


def key_is_private(render: Render) -> bool:
    """No principal is everybody, and an AWS service only on this account's behalf."""
    statements = [s for key in inputs(render, "kms/key:Key") for s in json.loads(key["policy"])["Statement"]]
    return all(
        statement["Principal"] != "*"
        and "*" not in statement["Principal"].values()
        and ("AWS" in statement["Principal"] or "Condition" in statement)
        for statement in statements
    )


def topic_is_private(render: Render) -> bool:
    statements = [s for p in inputs(render, "topicPolicy:TopicPolicy") for s in json.loads(p["policy"])["Statement"]]
    for_us = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    # EventBridge cannot be held to a condition.
    writers = [({"Service": "cloudwatch.amazonaws.com"}, for_us), ({"Service": "events.amazonaws.com"}, None)]
    return [(statement["Principal"], statement.get("Condition")) for statement in statements] == writers


def admits(entry: dict[str, Any], port: int) -> bool:
    """Whether an ACL's entry lets everybody in to a TCP port."""
    anybody = entry.get("cidrBlock") == "0.0.0.0/0" or entry.get("ipv6CidrBlock") == "::/0"
    covers = entry["protocol"] == "-1" or (
        entry["protocol"] in ("tcp", "6") and entry["fromPort"] <= port <= entry["toPort"]
    )
    return entry["action"] == "allow" and anybody and covers


def no_acl_admits_administration(render: Render) -> bool:
    """Own ACLs alone: the control makes no findings for a VPC's default one."""
    entries = [entry for acl in inputs(render, "networkAcl:NetworkAcl") for entry in acl["ingress"]]
    assert not render.of_type("networkAclRule:NetworkAclRule")
    return not any(admits(entry, port) for entry in entries for port in (22, 3389))


def ingress_from_groups_only(render: Render) -> bool:
    rules = inputs(render, "SecurityGroupIngressRule")
    inline = any({"ingress", "egress"} & set(group) for group in inputs(render, "securityGroup:SecurityGroup"))
    return not inline and all("referencedSecurityGroupId" in rule for rule in rules)


def flow_logs_everywhere(render: Render) -> bool:
    logged = {flow["vpcId"] for flow in inputs(render, "flowLog:FlowLog") if flow["trafficType"] in ("ALL", "REJECT")}
    return logged == {f"{vpc.name}-id" for vpc in render.of_type("ec2/vpc:Vpc")}


def secrets_are_read(render: Render) -> bool:
    wanted = {secret_arn(entry["valueFrom"]) for container in containers(render) for entry in container["secrets"]}
    secrets = {version["secretId"] for version in inputs(render, "secretVersion:SecretVersion")}
    return secrets <= wanted and len(secrets) == len(render.of_type("secretsmanager/secret:Secret"))


def repositories_expire(render: Render) -> bool:
    return len(inputs(render, "lifecyclePolicy:LifecyclePolicy")) == len(inputs(render, "repository:Repository"))


GROUP, SERVICE, ALARM = "replicationGroup:ReplicationGroup", "ecs/service:Service", "metricAlarm:MetricAlarm"
REPOSITORY, DEFINITION, TABLE = "ecr/repository:Repository", "taskDefinition:TaskDefinition", "dynamodb/table:Table"
LOAD_BALANCERS = none_of("aws:lb/loadBalancer", "aws:alb/loadBalancer", "aws:elb/loadBalancer")

CHECKS: dict[str, Callable[[Render], bool]] = {
    "CloudWatch.15": every(ALARM, lambda a: a.get("alarmActions")),
    "CloudWatch.16": every("logGroup:LogGroup", lambda g: g["retentionInDays"] >= 365),
    "CloudWatch.17": every(ALARM, lambda a: a.get("actionsEnabled", True)),
    "DynamoDB.1": every(TABLE, lambda t: t["billingMode"] == "PAY_PER_REQUEST"),
    "DynamoDB.2": every(TABLE, lambda t: t["pointInTimeRecovery"]["enabled"]),
    "DynamoDB.6": every(TABLE, lambda t: t["deletionProtectionEnabled"]),
    "EC2.2": every("DefaultSecurityGroup", lambda g: g["ingress"] == g["egress"] == []),
    "EC2.6": flow_logs_everywhere,
    "EC2.15": every("ec2/subnet:Subnet", lambda s: s["mapPublicIpOnLaunch"] is False),
    "EC2.18": ingress_from_groups_only,
    "EC2.19": ingress_from_groups_only,
    "EC2.21": no_acl_admits_administration,
    "ECR.1": every(REPOSITORY, lambda r: r["imageScanningConfiguration"]["scanOnPush"]),
    "ECR.2": every(REPOSITORY, lambda r: r["imageTagMutability"] == "IMMUTABLE"),
    "ECR.3": repositories_expire,
    "ECR.5": every(
        REPOSITORY, lambda r: all(e["encryptionType"] == "KMS" and e["kmsKey"] for e in r["encryptionConfigurations"])
    ),
    "ECS.1": every(DEFINITION, lambda d: d["networkMode"] != "host"),
    "ECS.2": every(SERVICE, lambda s: s["networkConfiguration"]["assignPublicIp"] is False),
    "ECS.3": every(DEFINITION, lambda d: d.get("pidMode") != "host"),
    "ECS.4": every_container(lambda c: c["privileged"] is False),
    "ECS.5": every_container(lambda c: c["readonlyRootFilesystem"] is True),
    "ECS.8": every_container(lambda c: not any(_SECRETIVE.search(entry["name"]) for entry in c["environment"])),
    "ECS.9": every_container(lambda c: c["logConfiguration"]["logDriver"]),
    "ECS.10": every(SERVICE, lambda s: s["platformVersion"] == "LATEST"),
    "ECS.12": every(
        "ecs/cluster:Cluster",
        lambda c: any(s["name"] == "containerInsights" and s["value"] != "disabled" for s in c["settings"]),
    ),
    "ECS.16": none_of("aws:ecs/taskSet"),
    "ECS.17": every(DEFINITION, lambda d: d["networkMode"] == "awsvpc"),
    "ECS.18": lambda render: (
        none_of("aws:efs/")(render)
        and every(DEFINITION, lambda d: not any("efsVolumeConfiguration" in v for v in d["volumes"]))(render)
    ),
    "ECS.20": every_container(lambda c: c["user"].split(":")[0] not in ("", "0", "root")),
    **{f"ELB.{number}": LOAD_BALANCERS for number in (1, 4, 5, 6, 12, 13, 17)},
    "ElastiCache.1": every(GROUP, lambda g: g["snapshotRetentionLimit"] >= 1),
    "ElastiCache.2": every(GROUP, lambda g: g["autoMinorVersionUpgrade"]),
    "ElastiCache.3": every(GROUP, lambda g: g["automaticFailoverEnabled"] and g["multiAzEnabled"]),
    "ElastiCache.4": every(GROUP, lambda g: g["atRestEncryptionEnabled"] and g["kmsKeyId"]),
    "ElastiCache.5": every(GROUP, lambda g: g["transitEncryptionEnabled"] and g["transitEncryptionMode"] == "required"),
    "ElastiCache.6": every(GROUP, lambda g: float(g["engineVersion"].rstrip("x.")) >= 6 and g["userGroupIds"]),
    "ElastiCache.7": every(GROUP, lambda g: g["subnetGroupName"] != "default"),
    "IAM.1": lambda render: not any("*" in actions(statement) for statement in grants(render)),
    "IAM.2": none_of("aws:iam/user"),
    "IAM.21": lambda render: not any(a.endswith(":*") or a == "*" for s in grants(render) for a in actions(s)),
    "KMS.1": lambda render: none_of("aws:iam/policy:", "aws:iam/rolePolicyAttachment:")(render),
    "KMS.2": lambda render: not any(map(decrypts_with_every_key, grants(render))),
    "KMS.4": every("kms/key:Key", lambda k: k["enableKeyRotation"]),
    "KMS.5": key_is_private,
    "SNS.1": every("sns/topic:Topic", lambda t: t.get("kmsMasterKeyId")),
    "SNS.4": topic_is_private,
    "SecretsManager.1": lambda render: bool(render.of_type("secretRotation:SecretRotation")),
    "SecretsManager.3": secrets_are_read,
}


def granting(action: str, resource: str = "*") -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": [action], "Resource": [resource]}
    return {"policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})}


def open_to(principal: Any) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "*",
        "Resource": "*",
        "Condition": {"StringEquals": {}},
    }
    return {"policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})}


RULE, POLICY, KEY = "SecurityGroupIngressRule", "rolePolicy:RolePolicy", "kms/key:Key"
OPEN_RULE = {"referencedSecurityGroupId": None, "cidrIpv4": "0.0.0.0/0"}
OPEN_ENTRY = {
    "ruleNo": 1,
    "action": "allow",
    "protocol": "tcp",
    "cidrBlock": "0.0.0.0/0",
    "fromPort": 1024,
    "toPort": 65535,
}
#: Control -> a type of resource, and what is changed of its first one, or of the one that is named behind it; `+` adds
#: one, `containers` stands for theirs.
DEFECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "CloudWatch.15": (ALARM, {"alarmActions": []}),
    "CloudWatch.16": ("logGroup:LogGroup", {"retentionInDays": 180}),
    "CloudWatch.17": (ALARM, {"actionsEnabled": False}),
    "DynamoDB.1": (TABLE, {"billingMode": "PROVISIONED"}),
    "DynamoDB.2": (TABLE, {"pointInTimeRecovery": {"enabled": False}}),
    "DynamoDB.6": (TABLE, {"deletionProtectionEnabled": False}),
    "EC2.2": ("DefaultSecurityGroup", {"ingress": [{"protocol": "-1"}]}),
    "EC2.6": ("flowLog:FlowLog", {"trafficType": "ACCEPT"}),
    "EC2.15": ("ec2/subnet:Subnet", {"mapPublicIpOnLaunch": True}),
    "EC2.18": (RULE, OPEN_RULE),
    "EC2.19": (RULE, OPEN_RULE),
    "EC2.21": ("networkAcl:NetworkAcl", {"ingress": [OPEN_ENTRY]}),
    "ECR.1": (REPOSITORY, {"imageScanningConfiguration": {"scanOnPush": False}}),
    "ECR.2": (REPOSITORY, {"imageTagMutability": "MUTABLE"}),
    "ECR.3": ("+aws:ecr/repository:Repository", {}),
    "ECR.5": (REPOSITORY, {"encryptionConfigurations": [{"encryptionType": "AES256"}]}),
    "ECS.1": (DEFINITION, {"networkMode": "host"}),
    "ECS.2": (SERVICE, {"networkConfiguration": {"assignPublicIp": True}}),
    "ECS.3": (DEFINITION, {"pidMode": "host"}),
    "ECS.4": (DEFINITION, {"containers": {"privileged": True}}),
    "ECS.5": (f"{DEFINITION} flower", {"containers": {"readonlyRootFilesystem": True}}),
    "ECS.8": (DEFINITION, {"containers": {"environment": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}]}}),
    "ECS.9": (DEFINITION, {"containers": {"logConfiguration": {"logDriver": ""}}}),
    "ECS.10": (SERVICE, {"platformVersion": "1.3.0"}),
    "ECS.12": ("ecs/cluster:Cluster", {"settings": [{"name": "containerInsights", "value": "disabled"}]}),
    "ECS.16": ("+aws:ecs/taskSet:TaskSet", {}),
    "ECS.17": (DEFINITION, {"networkMode": "bridge"}),
    "ECS.18": (DEFINITION, {"volumes": [{"name": "files", "efsVolumeConfiguration": {}}]}),
    "ECS.20": (DEFINITION, {"containers": {"user": "0:0"}}),
    **{f"ELB.{number}": ("+aws:lb/loadBalancer:LoadBalancer", {}) for number in (1, 4, 5, 6, 12, 13, 17)},
    "ElastiCache.1": (GROUP, {"snapshotRetentionLimit": 0}),
    "ElastiCache.2": (GROUP, {"autoMinorVersionUpgrade": False}),
    "ElastiCache.3": (GROUP, {"automaticFailoverEnabled": False}),
    "ElastiCache.4": (GROUP, {"atRestEncryptionEnabled": False}),
    "ElastiCache.5": (GROUP, {"transitEncryptionMode": "preferred"}),
    "ElastiCache.6": (GROUP, {"userGroupIds": []}),
    "ElastiCache.7": (GROUP, {"subnetGroupName": "default"}),
    "IAM.1": (POLICY, granting("*")),
    "IAM.2": ("+aws:iam/user:User", {}),
    "IAM.21": (POLICY, granting("s3:*")),
    "KMS.1": ("+aws:iam/policy:Policy", granting("kms:Decrypt")),
    "KMS.2": (POLICY, granting("kms:Decrypt")),
    "KMS.4": (KEY, {"enableKeyRotation": False}),
    "KMS.5": (KEY, open_to({"AWS": "*"})),
    "SNS.1": ("sns/topic:Topic", {"kmsMasterKeyId": None}),
    "SNS.4": ("topicPolicy:TopicPolicy", open_to("*")),
    "SecretsManager.1": ("+aws:secretsmanager/secretRotation:SecretRotation", {}),
    "SecretsManager.3": ("+aws:secretsmanager/secretVersion:SecretVersion", {"secretId": "arn:forgotten"}),
}


def damaged(render: Render, type_: str, change: dict[str, Any]) -> Render:
    """Return the render with one resource more, or one that is other than it was."""
    first = render.resources[0]
    if type_.startswith("+"):
        extra = replace(first, type=type_[1:], name="extra", inputs=change)
        return replace(render, resources=(*render.resources, extra))
    type_, _, name = type_.partition(" ")
    victim = next(found for found in render.of_type(type_) if name in ("", found.name))
    new = dict(change)
    if parts := new.pop("containers", None):
        (container,) = json.loads(victim.inputs["containerDefinitions"])
        new["containerDefinitions"] = json.dumps([merged(container, parts)])
    other = replace(victim, inputs=merged(victim.inputs, new))
    return replace(render, resources=tuple(other if r is victim else r for r in render.resources))


def merged(below: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {**below, **over}
    for key, value in over.items():
        if isinstance(value, dict):
            both[key] = merged(below[key], value)
    return {key: value for key, value in both.items() if value is not None}


def test_every_row_has_a_check_and_every_check_a_row() -> None:
    assert set(ROWS) == set(CHECKS)
    assert len(_ROW.findall(DOCS.read_text())) == len(ROWS), "a control stands twice"
    rows = [line for line in DOCS.read_text().splitlines() if re.match(r"\| [A-Za-z0-9]+\.\d+ ", line)]
    assert len(rows) == len(ROWS), "a row that the test cannot read"


@pytest.mark.parametrize("control", sorted(CHECKS))
def test_the_table_tells_the_truth(control: str, prod: Render) -> None:
    assert CHECKS[control](prod) is (ROWS[control] != "not met")


@pytest.mark.parametrize("control", sorted(CHECKS))
def test_a_check_notices_what_it_is_for(control: str, prod: Render) -> None:
    assert CHECKS[control](damaged(prod, *DEFECTS[control])) is not CHECKS[control](prod)


def test_everything_at_rest_is_encrypted_with_the_stacks_own_key(stack: Render) -> None:
    key = stack.one("kms/key:Key")
    where = {
        "logGroup:LogGroup": "kmsKeyId",
        GROUP: "kmsKeyId",
        REPOSITORY: "encryptionConfigurations",
        TABLE: "serverSideEncryption",
        "sns/topic:Topic": "kmsMasterKeyId",
        "secretsmanager/secret:Secret": "kmsKeyId",
        "BucketServerSideEncryptionConfiguration": "rules",
        "ecs/cluster:Cluster": "configuration",
    }
    for type_, property_ in where.items():
        for resource in stack.of_type(type_):
            assert key.urn in resource.property_dependencies[property_], resource.urn
    (storage,) = (c["configuration"]["managedStorageConfiguration"] for c in inputs(stack, "ecs/cluster:Cluster"))
    assert storage["fargateEphemeralStorageKmsKeyId"].startswith("arn:aws:kms:")


def test_the_key_lets_fargate_encrypt_the_disks_of_this_cluster_only(stack: Render) -> None:
    cluster = stack.one("ecs/cluster:Cluster").inputs["name"]
    statements = json.loads(stack.one("kms/key:Key").inputs["policy"])["Statement"]
    fargate = {s["Action"][0]: s for s in statements if s["Principal"].get("Service") == "fargate.amazonaws.com"}
    assert set(fargate) == {"kms:GenerateDataKeyWithoutPlaintext", "kms:CreateGrant"}
    for statement in fargate.values():
        assert statement["Condition"]["StringEquals"]["kms:EncryptionContext:aws:ecs:clusterName"] == cluster
    grant = fargate["kms:CreateGrant"]["Condition"]["ForAllValues:StringEquals"]
    assert grant == {"kms:GrantOperations": ["Decrypt"]}
