"""From a resource to the request with which the provider creates it: a table of names, by Pulumi type.

Most of AWS' APIs write what Pulumi writes, with a capital letter first; the table holds what they do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scripts.checks.aws_model import pascal

Inputs = dict[str, Any]
#: From a resource's inputs to the parameters.
Build = Callable[[Inputs], Inputs]


@dataclass(frozen=True)
class Request:
    """A call of an AWS API.

    Attributes:
        service: As botocore calls it.
        operation: Its name.
        build: Makes the parameters.
    """

    service: str
    operation: str
    build: Build


def plain(
    drop: tuple[str, ...] = (),
    rename: Mapping[str, str] | None = None,
    convert: Mapping[str, Callable[[Any], Any]] | None = None,
    add: Mapping[str, Any] | None = None,
) -> Build:
    """Return a builder that capitalises keys.

    Args:
        drop: Inputs that go into other calls, or nowhere. Tags always do: `names.tags` looks at them.
        rename: Input -> parameter.
        convert: Input -> function for its value; otherwise nested keys are capitalised.
        add: Parameters beside.
    """

    def build(inputs: Inputs) -> Inputs:
        built: Inputs = dict(add or {})
        for key, value in inputs.items():
            if key == "tags" or key in drop:
                continue
            name = (rename or {}).get(key, key[0].upper() + key[1:])
            built[name] = convert[key](value) if convert and key in convert else pascal(value)
        return built

    return build


def _as_is(value: Any) -> Any:
    return value


def _wrapped(**keys: str) -> Build:
    """Return a builder with exactly `keys`: parameter -> input, if it is given."""

    def build(inputs: Inputs) -> Inputs:
        return {name: inputs[key] for name, key in keys.items() if key in inputs}

    return build


def _pairs(mapping: dict[str, str]) -> list[Inputs]:
    return [{"Name": name, "Value": value} for name, value in mapping.items()]


# ECS writes small letters.
def _task_definition(inputs: Inputs) -> Inputs:
    given = {key: value for key, value in inputs.items() if key not in ("tags", "skipDestroy", "trackLatest")}
    return given | {"containerDefinitions": json.loads(inputs["containerDefinitions"])}


def _ecs_service(inputs: Inputs) -> Inputs:
    network = inputs["networkConfiguration"]
    deployment = {
        "deploymentCircuitBreaker": inputs.get("deploymentCircuitBreaker"),
        "maximumPercent": inputs.get("deploymentMaximumPercent"),
        "minimumHealthyPercent": inputs.get("deploymentMinimumHealthyPercent"),
        "alarms": inputs.get("alarms"),
    }
    renamed = {
        "name": "serviceName",
        "capacityProviderStrategies": "capacityProviderStrategy",
        "enableEcsManagedTags": "enableECSManagedTags",
    }
    elsewhere = {
        *("tags", "networkConfiguration", "deploymentCircuitBreaker", "deploymentMaximumPercent", "alarms"),
        *("deploymentMinimumHealthyPercent", "waitForSteadyState", "forceNewDeployment", "forceDelete", "triggers"),
    }
    return {renamed.get(key, key): value for key, value in inputs.items() if key not in elsewhere} | {
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": network["subnets"],
                "securityGroups": network.get("securityGroups", []),
                "assignPublicIp": "ENABLED" if network.get("assignPublicIp") else "DISABLED",
            }
        },
        "deploymentConfiguration": {key: value for key, value in deployment.items() if value is not None},
    }


def _ecs_cluster(inputs: Inputs) -> Inputs:
    return {"clusterName" if key == "name" else key: value for key, value in inputs.items() if key != "tags"}


def _ecs_providers(inputs: Inputs) -> Inputs:
    default = inputs.get("defaultCapacityProviderStrategies", [])
    return {
        "cluster": inputs["clusterName"],
        "capacityProviders": inputs.get("capacityProviders", []),
        "defaultCapacityProviderStrategy": default,
    }


def _alarm(inputs: Inputs) -> Inputs:
    return plain(
        rename={"name": "AlarmName", "okActions": "OKActions", "metricQueries": "Metrics"},
        convert={"dimensions": _pairs, "metricQueries": lambda queries: [_query(query) for query in queries]},
    )(inputs)


def _query(query: Inputs) -> Inputs:
    if "metric" not in query:
        return pascal(query)  # type: ignore[no-any-return]
    metric = query["metric"]
    return {
        "Id": query["id"],
        "ReturnData": query.get("returnData", False),
        "MetricStat": {
            "Metric": {
                "Namespace": metric["namespace"],
                "MetricName": metric["metricName"],
                "Dimensions": _pairs(metric.get("dimensions", {})),
            },
            "Period": metric["period"],
            "Stat": metric["stat"],
        },
    }


def _scaling_policy(inputs: Inputs) -> Inputs:
    steps = inputs.get("stepScalingPolicyConfiguration")
    if steps:
        # The provider takes the bounds as text, so that zero and nothing are not the same.
        adjustments = [
            {key: float(value) if "Bound" in key else value for key, value in entry.items()}
            for entry in steps["stepAdjustments"]
        ]
        inputs = inputs | {"stepScalingPolicyConfiguration": {**steps, "stepAdjustments": adjustments}}
    return plain(rename={"name": "PolicyName"})(inputs)


def _replication_group(inputs: Inputs) -> Inputs:
    deliveries = [
        {
            "LogType": entry["logType"],
            "DestinationType": entry["destinationType"],
            "DestinationDetails": {"CloudWatchLogsDetails": {"LogGroup": entry["destination"]}},
            "LogFormat": entry["logFormat"],
        }
        for entry in inputs.get("logDeliveryConfigurations", [])
    ]
    return plain(
        drop=("applyImmediately", "finalSnapshotIdentifier"),
        rename={
            "description": "ReplicationGroupDescription",
            "nodeType": "CacheNodeType",
            "parameterGroupName": "CacheParameterGroupName",
            "subnetGroupName": "CacheSubnetGroupName",
            "maintenanceWindow": "PreferredMaintenanceWindow",
            "multiAzEnabled": "MultiAZEnabled",
        },
        convert={"logDeliveryConfigurations": lambda _: deliveries},
    )(inputs)


def _redis_user(inputs: Inputs) -> Inputs:
    mode = dict(inputs.get("authenticationMode", {}))
    if "passwords" in mode:
        # Secrets do not stand in a render; `elasticache.passwords` looks at how they are made.
        mode["passwords"] = ["x" * 16 for _ in mode["passwords"]]
    return plain(convert={"authenticationMode": lambda _: pascal(mode)})(inputs)


def _table(inputs: Inputs) -> Inputs:
    keys = [("hashKey", "HASH"), ("rangeKey", "RANGE")]
    encryption = inputs.get("serverSideEncryption", {})
    indexes = [
        {
            "IndexName": index["name"],
            "KeySchema": pascal(index["keySchemas"]),
            "Projection": {
                "ProjectionType": index["projectionType"],
                **({"NonKeyAttributes": index["nonKeyAttributes"]} if "nonKeyAttributes" in index else {}),
            },
        }
        for index in inputs.get("globalSecondaryIndexes", [])
    ]
    return {
        "TableName": inputs["name"],
        "BillingMode": inputs["billingMode"],
        "KeySchema": [{"AttributeName": inputs[key], "KeyType": kind} for key, kind in keys if key in inputs],
        "AttributeDefinitions": [
            {"AttributeName": entry["name"], "AttributeType": entry["type"]} for entry in inputs["attributes"]
        ],
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        "SSESpecification": {
            "Enabled": encryption.get("enabled", False),
            **({"SSEType": "KMS", "KMSMasterKeyId": encryption["kmsKeyArn"]} if "kmsKeyArn" in encryption else {}),
        },
        "DeletionProtectionEnabled": inputs.get("deletionProtectionEnabled", False),
    }


def _repository(inputs: Inputs) -> Inputs:
    (encryption,) = inputs.get("encryptionConfigurations") or [{"encryptionType": "AES256"}]
    return {
        "repositoryName": inputs["name"],
        "imageTagMutability": inputs.get("imageTagMutability", "MUTABLE"),
        "imageScanningConfiguration": inputs.get("imageScanningConfiguration", {}),
        "encryptionConfiguration": encryption,
    }


def _event_target(inputs: Inputs) -> Inputs:
    transformer = inputs.get("inputTransformer")
    target = {"Id": inputs["targetId"], "Arn": inputs["arn"]}
    if "roleArn" in inputs:
        target["RoleArn"] = inputs["roleArn"]
    if transformer:
        target["InputTransformer"] = {
            "InputPathsMap": transformer["inputPaths"],
            "InputTemplate": transformer["inputTemplate"],
        }
    return {"Rule": inputs["rule"], "Targets": [target]}


def _lifecycle(inputs: Inputs) -> Inputs:
    rules = [plain(rename={"id": "ID"})(rule) for rule in inputs["rules"]]
    return {"Bucket": inputs["bucket"], "LifecycleConfiguration": {"Rules": rules}}


def _bucket_encryption(inputs: Inputs) -> Inputs:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": plain(
                rename={"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
            )(rule["applyServerSideEncryptionByDefault"]),
            "BucketKeyEnabled": rule.get("bucketKeyEnabled", False),
        }
        for rule in inputs["rules"]
    ]
    return {"Bucket": inputs["bucket"], "ServerSideEncryptionConfiguration": {"Rules": rules}}


def _public_access(inputs: Inputs) -> Inputs:
    given = {key: value for key, value in inputs.items() if key != "bucket"}
    return {"Bucket": inputs["bucket"], "PublicAccessBlockConfiguration": pascal(given)}


def _group_rule(inputs: Inputs) -> Inputs:
    permission: Inputs = {"IpProtocol": inputs["ipProtocol"]}
    for key in ("fromPort", "toPort"):
        if key in inputs:
            permission[key[0].upper() + key[1:]] = inputs[key]
    text = {"Description": inputs["description"]} if "description" in inputs else {}
    for key, place, name in (
        ("cidrIpv4", "IpRanges", "CidrIp"),
        ("cidrIpv6", "Ipv6Ranges", "CidrIpv6"),
        ("prefixListId", "PrefixListIds", "PrefixListId"),
        ("referencedSecurityGroupId", "UserIdGroupPairs", "GroupId"),
    ):
        if key in inputs:
            permission[place] = [{name: inputs[key], **text}]
    return {"GroupId": inputs["securityGroupId"], "IpPermissions": [permission]}


REQUESTS: Final[dict[str, Request]] = {
    "aws:appautoscaling/policy:Policy": Request("application-autoscaling", "PutScalingPolicy", _scaling_policy),
    "aws:appautoscaling/scheduledAction:ScheduledAction": Request(
        "application-autoscaling",
        "PutScheduledAction",
        plain(drop=("startTime", "endTime"), rename={"name": "ScheduledActionName"}),
    ),
    "aws:appautoscaling/target:Target": Request("application-autoscaling", "RegisterScalableTarget", plain()),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": Request(
        "cloudwatch", "PutCompositeAlarm", plain(rename={"okActions": "OKActions"})
    ),
    "aws:cloudwatch/dashboard:Dashboard": Request("cloudwatch", "PutDashboard", plain()),
    "aws:cloudwatch/eventRule:EventRule": Request("events", "PutRule", plain()),
    "aws:cloudwatch/eventTarget:EventTarget": Request("events", "PutTargets", _event_target),
    "aws:cloudwatch/logGroup:LogGroup": Request(
        "logs", "CreateLogGroup", _wrapped(logGroupName="name", kmsKeyId="kmsKeyId")
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Request("cloudwatch", "PutMetricAlarm", _alarm),
    "aws:dynamodb/table:Table": Request("dynamodb", "CreateTable", _table),
    "aws:ec2/eip:Eip": Request("ec2", "AllocateAddress", plain()),
    "aws:ec2/flowLog:FlowLog": Request(
        "ec2",
        "CreateFlowLogs",
        plain(
            rename={"vpcId": "ResourceIds", "iamRoleArn": "DeliverLogsPermissionArn"},
            convert={"vpcId": lambda vpc: [vpc]},
            add={"ResourceType": "VPC"},
        ),
    ),
    "aws:ec2/natGateway:NatGateway": Request("ec2", "CreateNatGateway", plain()),
    "aws:ec2/networkAcl:NetworkAcl": Request("ec2", "CreateNetworkAcl", _wrapped(VpcId="vpcId")),
    "aws:ec2/route:Route": Request("ec2", "CreateRoute", plain()),
    "aws:ec2/routeTable:RouteTable": Request("ec2", "CreateRouteTable", plain()),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Request("ec2", "AssociateRouteTable", plain()),
    "aws:ec2/securityGroup:SecurityGroup": Request(
        "ec2", "CreateSecurityGroup", plain(drop=("name",), add={"GroupName": "made-by-pulumi"})
    ),
    "aws:ec2/subnet:Subnet": Request("ec2", "CreateSubnet", plain(drop=("mapPublicIpOnLaunch",))),
    "aws:ec2/vpc:Vpc": Request("ec2", "CreateVpc", plain(drop=("enableDnsHostnames", "enableDnsSupport"))),
    "aws:ec2/vpcEndpoint:VpcEndpoint": Request(
        "ec2", "CreateVpcEndpoint", plain(rename={"policy": "PolicyDocument"}, drop=("autoAccept",))
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": Request(
        "ecr", "PutLifecyclePolicy", _wrapped(repositoryName="repository", lifecyclePolicyText="policy")
    ),
    "aws:ecr/repository:Repository": Request("ecr", "CreateRepository", _repository),
    "aws:ecs/cluster:Cluster": Request("ecs", "CreateCluster", _ecs_cluster),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": Request(
        "ecs", "PutClusterCapacityProviders", _ecs_providers
    ),
    "aws:ecs/service:Service": Request("ecs", "CreateService", _ecs_service),
    "aws:ecs/taskDefinition:TaskDefinition": Request("ecs", "RegisterTaskDefinition", _task_definition),
    "aws:elasticache/parameterGroup:ParameterGroup": Request(
        "elasticache",
        "CreateCacheParameterGroup",
        plain(
            drop=("name", "parameters"),
            rename={"family": "CacheParameterGroupFamily"},
            add={"CacheParameterGroupName": "made-by-pulumi"},
        ),
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": Request(
        "elasticache", "CreateReplicationGroup", _replication_group
    ),
    "aws:elasticache/subnetGroup:SubnetGroup": Request(
        "elasticache",
        "CreateCacheSubnetGroup",
        plain(
            drop=("name",),
            rename={"description": "CacheSubnetGroupDescription"},
            add={"CacheSubnetGroupName": "made-by-pulumi"},
        ),
    ),
    "aws:elasticache/user:User": Request("elasticache", "CreateUser", _redis_user),
    "aws:elasticache/userGroup:UserGroup": Request("elasticache", "CreateUserGroup", plain()),
    "aws:iam/policy:Policy": Request(
        "iam", "CreatePolicy", plain(rename={"name": "PolicyName", "policy": "PolicyDocument"})
    ),
    "aws:iam/role:Role": Request(
        "iam",
        "CreateRole",
        plain(
            rename={
                "name": "RoleName",
                "assumeRolePolicy": "AssumeRolePolicyDocument",
                "permissionsBoundary": "PermissionsBoundary",
            }
        ),
    ),
    "aws:iam/rolePolicy:RolePolicy": Request(
        "iam",
        "PutRolePolicy",
        plain(
            drop=("name",),
            rename={"role": "RoleName", "policy": "PolicyDocument"},
            add={"PolicyName": "made-by-pulumi"},
        ),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Request(
        "iam", "AttachRolePolicy", plain(rename={"role": "RoleName"})
    ),
    "aws:kms/alias:Alias": Request("kms", "CreateAlias", plain(rename={"name": "AliasName"})),
    "aws:kms/key:Key": Request(
        "kms",
        "CreateKey",
        plain(drop=("deletionWindowInDays", "enableKeyRotation", "rotationPeriodInDays")),
    ),
    "aws:s3/bucket:Bucket": Request("s3", "CreateBucket", _wrapped(Bucket="bucket")),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Request(
        "s3", "PutBucketLifecycleConfiguration", _lifecycle
    ),
    "aws:s3/bucketPolicy:BucketPolicy": Request("s3", "PutBucketPolicy", plain()),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Request("s3", "PutPublicAccessBlock", _public_access),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Request(
        "s3", "PutBucketEncryption", _bucket_encryption
    ),
    "aws:secretsmanager/secret:Secret": Request(
        "secretsmanager", "CreateSecret", plain(drop=("recoveryWindowInDays", "forceOverwriteReplicaSecret"))
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": Request("secretsmanager", "PutSecretValue", plain()),
    "aws:sns/topic:Topic": Request("sns", "CreateTopic", _wrapped(Name="name")),
    "aws:sns/topicSubscription:TopicSubscription": Request(
        "sns", "Subscribe", plain(rename={"topic": "TopicArn"}, convert={"topic": _as_is})
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": Request(
        "ec2", "AuthorizeSecurityGroupEgress", _group_rule
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": Request(
        "ec2", "AuthorizeSecurityGroupIngress", _group_rule
    ),
}

#: No request of their own, or one of two ids that other checks follow.
WITHOUT_REQUEST: Final = {
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "exists; `network.default-group` looks at its rules",
    "aws:ec2/internetGateway:InternetGateway": "is created without parameters and attached by ids",
    "aws:sns/topicPolicy:TopicPolicy": "an attribute of the topic; `iam.documents` reads it",
}
