"""What several checks look at: a render's documents, containers and metrics, read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from infra.plan.names import redis_nodes
from scripts.render import Render, Resource

ALARM: Final = "cloudwatch/metricAlarm:MetricAlarm"
GROUP: Final = "elasticache/replicationGroup:ReplicationGroup"
KEY: Final = "kms/key:Key"
LOG_GROUP: Final = "cloudwatch/logGroup:LogGroup"
POLICY: Final = "appautoscaling/policy:Policy"
ROLE: Final = "iam/role:Role"
SERVICE: Final = "ecs/service:Service"
TARGET: Final = "appautoscaling/target:Target"
TASK_DEFINITION: Final = "ecs/taskDefinition:TaskDefinition"

#: Input that holds a policy document -> types.
_DOCUMENTS: Final = {
    "policy": (
        "iam/policy:Policy",
        "iam/rolePolicy:RolePolicy",
        "kms/key:Key",
        "s3/bucketPolicy:BucketPolicy",
        "sns/topicPolicy:TopicPolicy",
        "ec2/vpcEndpoint:VpcEndpoint",
        "secretsmanager/secretPolicy:SecretPolicy",
        "ecr/repositoryPolicy:RepositoryPolicy",
    ),
    "assumeRolePolicy": ("iam/role:Role",),
}

Statement = dict[str, Any]


def as_list(value: Any) -> list[Any]:
    """Return `value` as IAM reads it: one entry may stand without a list."""
    return value if isinstance(value, list) else [value]


def documents(render: Render) -> Iterator[tuple[Resource, str, dict[str, Any]]]:
    """Yield every policy document: resource, input, document."""
    for key, types in _DOCUMENTS.items():
        for type_ in types:
            for resource in render.of_type(type_):
                if key in resource.inputs:
                    yield resource, key, json.loads(resource.inputs[key])


def statements(document: dict[str, Any]) -> list[Statement]:
    """Return a document's statements."""
    return as_list(document["Statement"])


def allowed(render: Render, role_name: str) -> list[Statement]:
    """Return the statements of all inline policies of a role."""
    return [
        statement
        for policy in render.of_type("iam/rolePolicy:RolePolicy")
        if policy.inputs["role"] == role_name
        for statement in statements(json.loads(policy.inputs["policy"]))
        if statement["Effect"] == "Allow"
    ]


def grants(render: Render, role_name: str, action: str) -> list[Statement]:
    """Return the statements that allow a role `action`."""
    return [found for found in allowed(render, role_name) if action in as_list(found["Action"])]


def role_name(arn: str) -> str:
    """Return the name in a role's ARN."""
    return arn.rpartition("/")[2]


def containers(definition: Resource) -> list[dict[str, Any]]:
    """Return the containers of a task definition."""
    found: list[dict[str, Any]] = json.loads(definition.inputs["containerDefinitions"])
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Return a container's plain environment."""
    return {entry["name"]: entry["value"] for entry in container.get("environment", [])}


def definition_of(render: Render, service: Resource) -> Resource:
    """Return the task definition that a service runs.

    Raises:
        LookupError: If it is not in the render.
    """
    urns = service.property_dependencies.get("taskDefinition", [])
    for definition in render.of_type(TASK_DEFINITION):
        if definition.urn in urns:
            return definition
    raise LookupError(f"the task definition of {service.name}")


def queue_of(render: Render, service: Resource) -> str | None:
    """Return the queue whose workers a service runs, None for other services."""
    for container in containers(definition_of(render, service)):
        if container.get("command", [])[-1:] == ["worker"]:
            return variables(container).get("FLEET_QUEUES")
    return None


def queues(render: Render) -> dict[str, Resource]:
    """Return queue -> service."""
    found = {queue_of(render, service): service for service in render.of_type(SERVICE)}
    return {queue: service for queue, service in found.items() if queue is not None}


def scaled(render: Render, service: Resource) -> Resource | None:
    """Return the scaling target that owns a service's number of tasks."""
    end = f"/{service.inputs['name']}"
    return next((target for target in render.of_type(TARGET) if target.inputs["resourceId"].endswith(end)), None)


def nodes(group: Resource) -> tuple[str, ...]:
    """Return the node ids of a replication group."""
    inputs = group.inputs
    return redis_nodes(
        inputs["replicationGroupId"], inputs.get("numNodeGroups", 1), inputs.get("replicasPerNodeGroup", 0)
    )


def environment(render: Render) -> str:
    """Return `staging` or `prod`, as the tags say."""
    return str(render.of_type("ecs/cluster:Cluster")[0].inputs["tags"]["Environment"])


@dataclass(frozen=True)
class Reading:
    """One metric that an alarm, a policy or a dashboard reads.

    Attributes:
        owner: Who reads.
        path: Input in which it stands.
        namespace: Of the metric.
        name: Of the metric.
        dimensions: Name -> value.
        period: Seconds, None where the reader has none.
    """

    owner: Resource
    path: str
    namespace: str
    name: str
    dimensions: dict[str, str]
    period: int | None


def readings(render: Render) -> Iterator[Reading]:
    """Yield every metric that something in the render reads."""
    for alarm in render.of_type(ALARM):
        yield from alarm_readings(alarm)
    for policy in render.of_type(POLICY):
        yield from _policy_readings(policy)
    for board in render.of_type("cloudwatch/dashboard:Dashboard"):
        yield from _board_readings(board)


def alarm_readings(alarm: Resource) -> Iterator[Reading]:
    """Yield the metrics of one alarm."""
    inputs = alarm.inputs
    if "metricName" in inputs:
        yield Reading(
            alarm,
            "metricName",
            inputs.get("namespace", ""),
            inputs["metricName"],
            inputs.get("dimensions", {}),
            inputs.get("period"),
        )
    for index, query in enumerate(inputs.get("metricQueries", [])):
        if "metric" in query:
            metric = query["metric"]
            yield Reading(
                alarm,
                f"metricQueries[{index}]",
                metric.get("namespace", ""),
                metric["metricName"],
                metric.get("dimensions", {}),
                metric.get("period"),
            )


def _policy_readings(policy: Resource) -> Iterator[Reading]:
    tracking = policy.inputs.get("targetTrackingScalingPolicyConfiguration", {})
    specification = tracking.get("customizedMetricSpecification", {})
    flat = [{"metric": specification}] if "metricName" in specification else []
    for metric in (
        *flat,
        *(query["metricStat"] for query in specification.get("metrics", []) if "metricStat" in query),
    ):
        stat = metric["metric"]
        dimensions = {entry["name"]: entry["value"] for entry in stat.get("dimensions", [])}
        yield Reading(policy, stat["metricName"], stat["namespace"], stat["metricName"], dimensions, None)


def _board_readings(board: Resource) -> Iterator[Reading]:
    for index, widget in enumerate(json.loads(board.inputs["dashboardBody"])["widgets"]):
        for row in widget["properties"].get("metrics", []):
            words = [word for word in row if isinstance(word, str)]
            if len(words) < 2:  # an expression
                continue
            namespace, name, *pairs = words
            dimensions = dict(zip(pairs[::2], pairs[1::2], strict=True))
            yield Reading(board, f"widgets[{index}]", namespace, name, dimensions, None)
