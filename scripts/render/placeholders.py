"""What AWS would answer: a typed, recognisable value for every output that the program may read."""

from __future__ import annotations

import hashlib
import importlib
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import pulumi
from pulumi.runtime import rpc

PARTITION: Final = "aws"
REGION: Final = "eu-central-1"
ACCOUNT: Final = "123456789012"
ZONES: Final = tuple(f"{REGION}{letter}" for letter in "abc")
#: The VPC that every existing subnet belongs to.
VPC: Final = "vpc-0123456789abcdef0"
_DIGEST: Final = "sha256:" + "0" * 64

_RESULTS: Final[dict[str, dict[str, Any]]] = {
    "aws:index/getPartition:getPartition": {"partition": PARTITION, "dnsSuffix": "amazonaws.com"},
    "aws:index/getRegion:getRegion": {"region": REGION},
    "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT},
    "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": list(ZONES)},
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": {"userName": "AWS", "password": "registry-password"},
}


def _subnet(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return a private subnet of `VPC`; the last digit of its id decides on its zone."""
    subnet = str(args["id"])
    zone = ZONES[int(subnet[-1], 16) % len(ZONES)]
    return {"id": subnet, "vpcId": VPC, "availabilityZone": zone, "mapPublicIpOnLaunch": False}


def _prefix_list(args: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": f"pl-{hashlib.sha256(str(args['name']).encode()).hexdigest()[:8]}"}


#: Functions whose answer depends on what is asked for.
_LOOKUPS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:ec2/getPrefixList:getPrefixList": _prefix_list,
}

#: Kind of resource -> how its ARN ends; `{name}` is the physical name.
_ARNS: Final = {
    "aws:appautoscaling/policy:Policy": "autoscaling:{region}:{account}:scalingPolicy:{uuid}:resource/ecs/"
    "service:policyName/{name}",
    "aws:cloudwatch/logGroup:LogGroup": "logs:{region}:{account}:log-group:{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch:{region}:{account}:alarm:{name}",
    "aws:dynamodb/table:Table": "dynamodb:{region}:{account}:table/{name}",
    "aws:ecr/repository:Repository": "ecr:{region}:{account}:repository/{name}",
    "aws:ecs/cluster:Cluster": "ecs:{region}:{account}:cluster/{name}",
    "aws:ecs/service:Service": "ecs:{region}:{account}:service/{name}",
    "aws:ecs/taskDefinition:TaskDefinition": "ecs:{region}:{account}:task-definition/{name}:1",
    "aws:iam/role:Role": "iam::{account}:role/{name}",
    "aws:kms/key:Key": "kms:{region}:{account}:key/{uuid}",
    "aws:s3/bucket:Bucket": "s3:::{name}",
    "aws:secretsmanager/secret:Secret": "secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
    "aws:sns/topic:Topic": "sns:{region}:{account}:{name}",
}


def results_of(token: str, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the function `token` of a provider answers to `args`.

    Raises:
        KeyError: If the render does not know it: an unanswered call would turn into None without an error.
    """
    if token in _LOOKUPS:
        return _LOOKUPS[token](args or {})
    if token not in _RESULTS:
        raise KeyError(f"the render has no answer for {token}; add one to {__name__}")
    return _RESULTS[token]


def outputs_of(token: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return a resource's state: its inputs, and a placeholder for every output that is never None."""
    key = {"TaskDefinition": "family", "Bucket": "bucket"}.get(token.rpartition(":")[2], "name")
    physical = str(inputs.get(key, name))
    state = {output: _placeholder(kind, f"{name}.{output}") for output, kind in _outputs(token).items()}
    state["name"] = physical
    if "arn" in state:
        state["arn"] = _arn(token, name, physical)
    return state | _special(token, physical, str(state.get("arn")), inputs) | inputs


def _arn(token: str, name: str, physical: str) -> str:
    digest = hashlib.sha256(f"{token}{name}".encode()).hexdigest()
    return f"arn:{PARTITION}:" + _ARNS.get(token, "{service}:{region}:{account}:{name}").format(
        service=token.split(":")[1].split("/")[0],
        region=REGION,
        account=ACCOUNT,
        name=physical,
        uuid="-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32])),
    )


def _special(token: str, name: str, arn: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Outputs whose form others rely on."""
    match token:
        case "aws:elasticache/replicationGroup:ReplicationGroup":
            group = inputs.get("replicationGroupId", name)
            return {"configurationEndpointAddress": f"clustercfg.{group}.cache.example"}
        case "aws:ecr/repository:Repository":
            return {
                "repositoryUrl": f"{ACCOUNT}.ecr.example/{name}",
                "registryId": ACCOUNT,
            }
        case "docker:index/image:Image":
            return {"repoDigest": f"{str(inputs.get('imageName')).rpartition(':')[0]}@{_DIGEST}"}
        case "aws:secretsmanager/secretVersion:SecretVersion":
            return {"secretArn": inputs["secretId"]}
        case "aws:secretsmanager/secret:Secret":
            # The provider's id of a secret is its ARN.
            return {"id": arn}
        case _:
            return {}


@cache
def _outputs(token: str) -> dict[str, Any]:
    """Return a resource's outputs that are never None, with their types, from the provider's own classes."""
    package, module, _ = token.split(":")
    found = rpc.get_resource_module(package, module, "")
    if found is None:
        return {}
    info = typing.cast(Any, found).mod_info
    if token not in info["classes"]:
        return {}
    cls = getattr(importlib.import_module(info["fqn"]), info["classes"][token])
    hints: dict[str, Any] = {}
    for attribute, value in vars(cls).items():
        if isinstance(value, property) and value.fget is not None:
            kind = typing.get_type_hints(value.fget)["return"]
            if typing.get_origin(kind) is pulumi.Output:
                hints[getattr(value.fget, "_pulumi_name", attribute)] = typing.get_args(kind)[0]
    return {name: kind for name, kind in sorted(hints.items()) if not _optional(kind)}


def _optional(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType) and type(None) in typing.get_args(kind)


def _placeholder(kind: Any, text: str) -> Any:
    origin = typing.get_origin(kind) or kind
    if origin is bool:
        return False
    if origin in (int, float):
        return 0
    if isinstance(origin, type) and issubclass(origin, typing.Sequence) and origin is not str:
        return []
    if origin is str:
        return text
    return {}
