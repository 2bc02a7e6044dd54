"""Defects of network, policies, names, secrets, data, provider inputs and the program itself."""

from __future__ import annotations

import copy
from typing import Any, Final

from scripts.render import Resource
from tests.infra.defects.draft import (
    Defect,
    Draft,
    Seed,
    defect,
    document,
    drop,
    grant,
    option,
    put,
    remove,
    statement,
    variable,
)

ENDPOINT: Final = "ec2/vpcEndpoint:VpcEndpoint"
EGRESS: Final = "securityGroupEgressRule:SecurityGroupEgressRule"
INGRESS: Final = "securityGroupIngressRule:SecurityGroupIngressRule"
GROUP: Final = "elasticache/replicationGroup:ReplicationGroup"
KEY: Final = "kms/key:Key"
TABLE: Final = "dynamodb/table:Table"
BUCKET: Final = "s3/bucket:Bucket"
LOGS: Final = "cloudwatch/logGroup:LogGroup"
ROLE: Final = "iam/role:Role"
SERVICE: Final = "ecs/service:Service"
ALARM: Final = "metricAlarm:MetricAlarm"


def _all_ports(draft: Draft) -> None:
    inputs = draft.find(EGRESS, "tasks-to-s3").inputs
    inputs["ipProtocol"] = "-1"
    del inputs["fromPort"], inputs["toPort"]


def _from_anywhere(draft: Draft) -> None:
    inputs = draft.find(INGRESS).inputs
    del inputs["referencedSecurityGroupId"]
    inputs["cidrIpv4"] = "0.0.0.0/0"


def _ports(from_port: int) -> Seed:
    return lambda draft: draft.find(EGRESS, "tasks-to-0-0-0-0-0-443").inputs.update(
        fromPort=from_port, toPort=from_port
    )


def _out_of_redis(draft: Draft) -> None:
    rule = draft.find(EGRESS, "tasks-to-s3")
    rule.inputs["securityGroupId"] = "redis-id"


def _flow_waits_for_nothing(draft: Draft) -> None:
    draft.find("FlowLog").dependencies.clear()


def _service_may_not(service: str) -> Seed:
    """Take a service's right to use the key away."""

    def edit(found: Any) -> None:
        for one in found["Statement"]:
            names = one["Principal"].get("Service", [])
            if service in names and isinstance(names, list):
                names.remove(service)
        found["Statement"] = [
            s for s in found["Statement"] if not str(s["Principal"].get("Service")).startswith(service)
        ]

    return document(KEY, None, "policy", edit)


def _topic_of_alarms_only(found: Any) -> None:
    found["Statement"] = [s for s in found["Statement"] if s["Principal"] != {"Service": "events.amazonaws.com"}]


def _by_account(found: Any) -> None:
    """The condition that EventBridge does not fulfil."""
    for one in found["Statement"]:
        if "events.amazonaws.com" in str(one["Principal"]):
            one["Condition"] = {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def _trust(**changes: Any) -> Seed:
    return document(ROLE, "celery-task", "assumeRolePolicy", lambda found: found["Statement"][0].update(changes))


def _any_account(found: Any) -> None:
    del found["Statement"][0]["Condition"]["StringEquals"]


def _same_name(draft: Draft) -> None:
    draft.find(ALARM, "celery-deep").inputs["name"] = draft.find(ALARM, "data-queue-deep").inputs["name"]


def _repository_in_capitals(draft: Draft) -> None:
    for type_, key in (("ecr/repository:Repository", "name"), ("ecr/lifecyclePolicy:LifecyclePolicy", "repository")):
        draft.find(type_).inputs[key] = "celery-fleet-prod/Service"


def _output(value: str) -> Seed:
    return lambda draft: draft.outputs.update(redisPassword=value)


def _circle(draft: Draft) -> None:
    alarm = draft.find(ALARM, "celery-deep")
    draft.find(SERVICE, "celery").dependencies.append(alarm.urn)


def _twice(draft: Draft) -> None:
    found = draft.find("kms/alias:Alias")
    draft.resources.append(copy.deepcopy(found))


def _unknown_type(draft: Draft) -> None:
    found: Resource = draft.find("ec2/eip:Eip")
    draft.replace(found, type="aws:ec2/elasticIp:ElasticIp")


NETWORK: Final[dict[str, Defect]] = {
    "no gateway endpoint": defect("network.gateways", drop(ENDPOINT, "dynamodb")),
    "a gateway endpoint that one zone does not use": defect(
        "network.gateways", put(ENDPOINT, "s3", "routeTableIds", ["private-1-id", "private-2-id"])
    ),
    "neither NAT nor endpoints": defect(
        "network.way-out", *(drop("ec2/natGateway:NatGateway", f"nat-{number}") for number in (1, 2, 3))
    ),
    "an endpoint that tasks need to start": defect("network.way-out", drop(ENDPOINT, "ecr.api"), base="endpoints-only"),
    "an endpoint under another name than the SDKs'": defect(
        "network.way-out", put(ENDPOINT, "secretsmanager", "privateDnsEnabled", False), base="endpoints-only"
    ),
    "all ports open": defect("network.rules", _all_ports),
    "a range of ports open": defect("network.rules", put(EGRESS, "tasks-to-s3", "toPort", 65535)),
    "another port open to everybody": defect("network.open", _ports(25)),
    "a rule that nobody describes": defect("network.rules", remove(EGRESS, "tasks-to-s3", "description")),
    "a rule for two": defect("network.rules", put(EGRESS, "tasks-to-s3", "cidrIpv4", "10.0.0.0/8")),
    "rules in a group and beside it": defect(
        "network.rules api.requests", put("ec2/securityGroup:SecurityGroup", "tasks", "egress", [])
    ),
    "everybody may come in": defect("network.open", _from_anywhere),
    "another port of Redis": defect(
        "network.redis", lambda draft: draft.find(INGRESS).inputs.update(fromPort=6380, toPort=6380)
    ),
    "nobody may come to Redis": defect("network.redis", drop(INGRESS)),
    "Redis may go out": defect("network.redis", _out_of_redis),
    "the default group keeps its rules": defect("network.default-group", drop("DefaultSecurityGroup")),
    "the default group has a rule": defect(
        "network.default-group",
        put("DefaultSecurityGroup", None, "ingress", [{"protocol": "-1", "fromPort": 0, "toPort": 0}]),
    ),
    "no flow log": defect("network.flow-log", drop("FlowLog")),
    "a flow log that may not write yet": defect("network.flow-log", _flow_waits_for_nothing),
    "tasks in a public subnet": defect(
        "network.private", put(SERVICE, "celery", "networkConfiguration.subnets", ["public-1-id", "private-2-id"])
    ),
    "public addresses by default": defect(
        "network.subnets", put("ec2/subnet:Subnet", "private-1", "mapPublicIpOnLaunch", True)
    ),
    "subnets that overlap": defect(
        "network.subnets", put("ec2/subnet:Subnet", "private-2", "cidrBlock", "10.20.0.0/19")
    ),
}

POLICIES: Final[dict[str, Defect]] = {
    "an action that does not exist": defect(
        "iam.documents iam.protection",
        statement("celery-task", "ecs:GetTaskProtection", Action=["ecs:GetTaskProtections"]),
    ),
    "a resource where the action needs one": defect(
        "iam.documents", statement("celery-task", "ecs:GetTaskProtection", Resource=["*"])
    ),
    "an ARN of another service": defect(
        "iam.documents",
        statement("celery-task", "ecs:GetTaskProtection", Resource=["arn:aws:sns:eu-central-1:123456789012:x"]),
    ),
    "a condition that the action does not know": defect(
        "iam.documents", statement("celery-task", "ecs:GetTaskProtection", Condition={"Bool": {"s3:x": "true"}})
    ),
    "all actions of a service": defect(
        "iam.least iam.documents",
        grant(
            "celery-task",
            ["dynamodb:*"],
            ["arn:aws:dynamodb:eu-central-1:123456789012:table/celery-fleet-prod-letters"],
        ),
    ),
    "metrics of any namespace": defect(
        "iam.least", statement("monitor-task", "cloudwatch:PutMetricData", Condition={"StringEquals": {}})
    ),
    "a role that anybody takes": defect("iam.trust", _trust(Principal={"AWS": "*"})),
    "a role that any account's ECS takes": defect(
        "iam.trust", document(ROLE, "celery-task", "assumeRolePolicy", _any_account)
    ),
    "a task that manages identities": defect(
        "iam.execution", grant("celery-task", ["iam:PassRole"], ["arn:aws:iam::123456789012:role/x"])
    ),
    "logs that may not use the key": defect("data.key-policy", _service_may_not("logs.")),
    "alarms that may not use the key": defect("data.key-policy", _service_may_not("cloudwatch.amazonaws.com")),
    "events that may not publish": defect(
        "data.topic-policy", document("sns/topicPolicy:TopicPolicy", None, "policy", _topic_of_alarms_only)
    ),
    "events that would have to say for whom they publish": defect(
        "data.topic-policy", document("sns/topicPolicy:TopicPolicy", None, "policy", _by_account)
    ),
    "events that would have to say for whom they encrypt": defect(
        "data.key-policy", document(KEY, None, "policy", _by_account)
    ),
}

DATA: Final[dict[str, Defect]] = {
    "Redis that Pulumi may delete": defect("data.protected", option(GROUP, None, protect=False)),
    "a table that AWS may delete": defect("data.protected", put(TABLE, None, "deletionProtectionEnabled", False)),
    "no final snapshot": defect("data.protected", remove(GROUP, None, "finalSnapshotIdentifier")),
    "no snapshots": defect("data.protected", put(GROUP, None, "snapshotRetentionLimit", 0)),
    "a bucket that goes with its contents": defect("data.protected", put(BUCKET, None, "forceDestroy", True)),
    "logs under AWS' key": defect("data.encrypted", remove(LOGS, "celery", "kmsKeyId")),
    "a topic in clear": defect("data.encrypted", remove("sns/topic:Topic", None, "kmsMasterKeyId")),
    "a key that stays the same": defect("data.encrypted", put(KEY, None, "enableKeyRotation", False)),
    "a bucket in clear": defect("data.encrypted", drop("BucketServerSideEncryptionConfiguration")),
    "logs for ever": defect("data.retention", remove(LOGS, "celery", "retentionInDays")),
    "a retention that CloudWatch does not offer": defect("data.retention", put(LOGS, "celery", "retentionInDays", 100)),
    "a bucket that can be made public": defect(
        "data.shut", put("BucketPublicAccessBlock", None, "blockPublicPolicy", False)
    ),
    "a bucket without TLS": defect("data.shut", drop("BucketPolicy")),
    "a secret's name that looks like an ARN's end": defect(
        "data.secret-names", put("secretsmanager/secret:Secret", None, "name", "celery-fleet/prod/redis-secret")
    ),
    "a password in clear": defect(
        "secrecy.in-clear secrecy.marked", put("SecretVersion", None, "secretString", "redis-workers-password-1.result")
    ),
    "a password that is not marked": defect(
        "secrecy.marked", put("elasticache/user:User", "redis-workers", "authenticationMode.passwords.0", "unknown")
    ),
    "a password in the environment": defect(
        "secrecy.environment", variable("celery", "SHOP_PASSWORD", "hunter2hunter2")
    ),
    "credentials in an address": defect(
        "secrecy.in-clear", variable("celery", "SHOP_DB", "postgres://shop:pw@db/shop")
    ),
    "a secret as text": defect(
        "secrecy.environment iam.execution",
        document(
            "TaskDefinition",
            "celery",
            "containerDefinitions",
            lambda found: found[0]["secrets"].append({"name": "TOKEN", "valueFrom": "hunter2"}),
        ),
    ),
    "a secret among the outputs": defect("secrecy.outputs", _output("[secret]")),
    "a password among the outputs": defect("secrecy.in-clear", _output("redis-workers-password-1.result")),
}

NAMES: Final[dict[str, Defect]] = {
    "a role's name above 64": defect(
        "names.limits api.requests", put(ROLE, "flow", "name", f"celery-fleet-prod-{'x' * 50}")
    ),
    "a repository in capitals": defect("names.limits api.requests", _repository_in_capitals),
    "two alarms of one name": defect("names.unique", _same_name),
    "a name that another stack takes": defect(
        "names.unique", put(ALARM, "celery-deep", "name", "celery-fleet-celery-deep")
    ),
    "no tags": defect("names.tags", remove("ec2/eip:Eip", None, "tags")),
    "a tag with marks": defect("names.tags", put("ec2/eip:Eip", None, "tags.Owner", "ops; root")),
    "a queue's cost under no queue": defect("names.queue-tags", remove(SERVICE, "celery", "tags.Queue")),
}

PROGRAM: Final[dict[str, Defect]] = {
    "a nested key misspelt": defect(
        "provider.aws api.requests ecs.rollback",
        put(SERVICE, "celery", "deploymentCircuitBreaker", {"enable": True, "rollBack": True}),
    ),
    "a key of a volume misspelt": defect(
        "provider.aws api.requests", put("TaskDefinition", "celery", "volumes.0.hostpath", "/data")
    ),
    "an input that the API has and the provider has not": defect(
        "provider.aws", put(GROUP, None, "preferredMaintenanceWindow", "sun:03:00-sun:04:00")
    ),
    "an input of another version": defect("provider.aws api.requests", put("ec2/eip:Eip", None, "vpc", True)),
    "an input without which nothing is made": defect(
        "provider.aws api.requests", remove("TaskDefinition", "celery", "family")
    ),
    "text for a number": defect(
        "provider.aws api.requests", put(SERVICE, "celery", "healthCheckGracePeriodSeconds", "60")
    ),
    "a list of one block": defect(
        "provider.aws api.requests", put(":BucketLifecycleConfiguration", None, "rules.0.expiration", [{"days": 97}])
    ),
    "one block for a list": defect(
        "provider.aws api.requests", put("ec2/vpcEndpoint:VpcEndpoint", "s3", "subnetIds", "subnet-1")
    ),
    "a kind of resource that does not exist": defect("provider.aws api.requests", _unknown_type),
    "a misspelt input of the image": defect(
        "provider.others", put("docker:index/image:Image", None, "build.dockerFile", "service/Dockerfile")
    ),
    "an image without a name": defect("provider.others", remove("docker:index/image:Image", None, "imageName")),
    "an output that got lost": defect(
        "program.values",
        put("kms/alias:Alias", None, "targetKeyId", "Calling __str__ on an Output[T] is not supported"),
    ),
    "an output that became nothing": defect(
        "program.values provider.aws api.requests", put("ec2/eip:Eip", None, "domain", None)
    ),
    "a circle": defect("program.dependencies", _circle),
    "a resource of nobody": defect("program.components", option("kms/alias:Alias", None, parent="")),
    "a component of another project": defect(
        "program.components", option("celery-fleet:index:Key", None, type="other:index:Key")
    ),
    "one URN twice": defect("program.dependencies names.unique", _twice),
}

DEFECTS: Final[dict[str, Defect]] = NETWORK | POLICIES | DATA | NAMES | PROGRAM
