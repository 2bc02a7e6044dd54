"""A render as text for people."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

from scripts.render import Render, Resource

#: Type -> the inputs that say most about a resource.
_KEYS: Final = {
    "aws:appautoscaling/policy:Policy": ("policyType",),
    "aws:appautoscaling/scheduledAction:ScheduledAction": ("schedule", "timezone"),
    "aws:appautoscaling/target:Target": ("minCapacity", "maxCapacity"),
    "aws:cloudwatch/logGroup:LogGroup": ("retentionInDays",),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("metricName", "comparisonOperator", "threshold", "period"),
    "aws:ec2/subnet:Subnet": ("cidrBlock", "availabilityZone"),
    "aws:ec2/vpc:Vpc": ("cidrBlock",),
    "aws:ecs/service:Service": (
        "desiredCount",
        "deploymentMinimumHealthyPercent",
        "deploymentMaximumPercent",
    ),
    "aws:ecs/taskDefinition:TaskDefinition": ("cpu", "memory"),
    "aws:elasticache/replicationGroup:ReplicationGroup": (
        "nodeType",
        "engineVersion",
        "numNodeGroups",
        "replicasPerNodeGroup",
    ),
    "aws:elasticache/user:User": ("userName",),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": ("cidrIpv4", "fromPort", "description"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ("fromPort", "description"),
    "docker:index/image:Image": ("imageName",),
}


def lines(render: Render) -> Iterator[str]:
    """Yield the stack's tree, then its outputs, then how many resources of each type it has."""
    children: dict[str, list[Resource]] = defaultdict(list)
    for resource in render.resources:
        children[resource.parent].append(resource)
    yield f"stack {render.stack}"
    yield from _branch(children, "", "")
    yield ""
    yield "outputs"
    for name, value in render.outputs.items():
        yield f"  {name}: {json.dumps(value) if isinstance(value, dict) else value}"
    yield ""
    real = [resource for resource in render.resources if not resource.component]
    yield f"{len(real)} resources in {len(render.resources) - len(real)} components"
    counts = Counter(resource.type for resource in real)
    for type_, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"{count:4}  {type_}"


def _branch(children: dict[str, list[Resource]], parent: str, indent: str) -> Iterator[str]:
    below = sorted(children[parent], key=lambda resource: (not resource.component, resource.type, resource.name))
    for resource in below:
        last = resource is below[-1]
        yield f"{indent}{'└─ ' if last else '├─ '}{_label(resource)}"
        yield from _branch(children, resource.urn, indent + ("   " if last else "│  "))


def _label(resource: Resource) -> str:
    kind = resource.type.rpartition(":")[2]
    facts = [f"{key}={_short(resource.inputs[key])}" for key in _KEYS.get(resource.type, ()) if key in resource.inputs]
    marks = [mark for mark, applies in (("protected", resource.protect), ("secret", resource.secret_paths)) if applies]
    rest = " ".join([*facts, *(f"[{mark}]" for mark in marks)])
    return f"{kind} {resource.name}" + (f"  {rest}" if rest else "")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"…{text[-59:]}"
