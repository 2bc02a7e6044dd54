"""The ECS services of a render, as a container runtime would need them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scripts.render.render import Render, Resource


@dataclass(frozen=True)
class EcsService:
    """One service and the container that its tasks run.

    Attributes:
        name: The ECS service's name.
        role: `worker` or `monitor`: the last word of the command.
        queue: The queue of its workers, None for the monitor.
        desired_count: Tasks at creation.
        command: Exec form.
        environment: Plain variables.
        secrets: Variable -> where ECS takes the value from.
        stop_timeout: Seconds from SIGTERM to SIGKILL.
        health_check: Command as ECS writes it: `CMD`, then the words.
        user: `uid:gid`.
        read_only: Whether the root file system is read-only.
        memory: MiB above which the container is killed.
        task: The whole task definition as registered, its container definitions parsed.
    """

    name: str
    role: str
    queue: str | None
    desired_count: int
    command: tuple[str, ...]
    environment: dict[str, str]
    secrets: dict[str, str]
    stop_timeout: int
    health_check: tuple[str, ...]
    user: str
    read_only: bool
    memory: int
    task: dict[str, Any]


def services(render: Render) -> list[EcsService]:
    """Return the services of `render`, sorted by name."""
    definitions = {resource.urn: resource for resource in render.of_type("ecs/taskDefinition:TaskDefinition")}
    return sorted(
        (_service(service, definitions) for service in render.of_type("ecs/service:Service")),
        key=lambda service: service.name,
    )


def redis_access_string(render: Render) -> str:
    """Return the access rules of the Redis user that the services use."""
    return str(_redis_user(render).inputs["accessString"])


def redis_user_name(render: Render) -> str:
    """Return the name of the Redis user that the services use."""
    return str(_redis_user(render).inputs["userName"])


def _redis_user(render: Render) -> Resource:
    (user,) = (user for user in render.of_type("elasticache/user:User") if user.inputs["userName"] != "default")
    return user


def _service(service: Resource, definitions: dict[str, Resource]) -> EcsService:
    (urn,) = service.property_dependencies["taskDefinition"]
    (container,) = json.loads(definitions[urn].inputs["containerDefinitions"])
    environment = {entry["name"]: entry["value"] for entry in container["environment"]}
    return EcsService(
        name=service.inputs["name"],
        role=container["command"][-1],
        queue=environment.get("FLEET_QUEUES"),
        desired_count=service.inputs["desiredCount"],
        command=tuple(container["command"]),
        environment=environment,
        secrets={entry["name"]: entry["valueFrom"] for entry in container["secrets"]},
        stop_timeout=container["stopTimeout"],
        health_check=tuple(container["healthCheck"]["command"]),
        user=container["user"],
        read_only=container["readonlyRootFilesystem"],
        memory=container["memory"],
        task={**definitions[urn].inputs, "containerDefinitions": [container]},
    )
