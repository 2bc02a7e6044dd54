"""ECS on Fargate: what the API's model does not know, and what makes a rolling deployment safe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infra.plan.deployment import running_limit
from infra.plan.fargate import MAX_STOP_TIMEOUT, SIZES
from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import (
    ALARM,
    GROUP,
    LOG_GROUP,
    SERVICE,
    TASK_DEFINITION,
    containers,
    definition_of,
    queue_of,
    role_name,
    scaled,
    variables,
)
from scripts.render import Render, Resource

_SHELLS: Final = ("sh", "bash", "/bin/sh", "/bin/bash")
_PLACES: Final = ("ec2/route:Route", "ec2/routeTableAssociation:RouteTableAssociation", "ec2/vpcEndpoint:VpcEndpoint")


def _sizes(render: Render) -> Iterator[Problem]:
    """Fargate sells pairs; what containers are promised fits into the task."""
    for definition in render.of_type(TASK_DEFINITION):
        cpu, memory = int(definition.inputs["cpu"]), int(definition.inputs["memory"])
        if memory not in SIZES.get(cpu, ()):
            yield at(definition, "memory", f"Fargate sells no {cpu} units with {memory} MiB")
        parts = containers(definition)
        for key, limit in (("cpu", cpu), ("memory", memory), ("memoryReservation", memory)):
            total = sum(part.get(key, 0) for part in parts)
            if total > limit:
                yield at(definition, f"containerDefinitions {key}", f"{total} is more than the task's {limit}")
        for part in parts:
            if part.get("memoryReservation", 0) > part.get("memory", memory):
                yield at(definition, "memoryReservation", f"more than memory in container {part['name']}")
            if "memory" not in part:
                yield at(definition, "memory", f"container {part['name']} has no hard limit")


def _stop(render: Render) -> Iterator[Problem]:
    """A worker's grace ends before ECS kills it."""
    for definition in render.of_type(TASK_DEFINITION):
        for part in containers(definition):
            timeout = part.get("stopTimeout", 30)
            if not 2 <= timeout <= MAX_STOP_TIMEOUT:
                yield at(definition, "stopTimeout", f"{timeout} s is not within 2 and {MAX_STOP_TIMEOUT}")
            grace = int(variables(part).get("FLEET_SHUTDOWN_GRACE", 0))
            if grace >= timeout:
                yield at(definition, "stopTimeout", f"{timeout} s ends before the grace of {grace} s does")


def _hardened(render: Render) -> Iterator[Problem]:
    """No root, no capabilities, nothing to write to but a volume."""
    # The agent of ECS Exec writes beside the program; docs/security-controls.md says what that costs.
    sessions = {
        definition_of(render, service).urn
        for service in render.of_type(SERVICE)
        if service.inputs.get("enableExecuteCommand")
    }
    for definition in render.of_type(TASK_DEFINITION):
        volumes = {volume["name"] for volume in definition.inputs.get("volumes", [])}
        for part in containers(definition):
            linux = part.get("linuxParameters", {})
            user = str(part.get("user", "root")).partition(":")[0]
            for wrong, path, text in (
                (user in ("", "0", "root"), "user", "runs as root"),
                (part.get("privileged", False), "privileged", "is privileged"),
                (
                    not part.get("readonlyRootFilesystem") and definition.urn not in sessions,
                    "readonlyRootFilesystem",
                    "can write to its root",
                ),
                (linux.get("capabilities", {}).get("drop") != ["ALL"], "capabilities", "keeps capabilities"),
                (linux.get("capabilities", {}).get("add"), "capabilities", "adds capabilities"),
                (not linux.get("initProcessEnabled"), "initProcessEnabled", "has no init process"),
            ):
                if wrong:
                    yield at(definition, path, f"container {part['name']} {text}")
            mounts = part.get("mountPoints", [])
            if not any(not mount.get("readOnly") for mount in mounts):
                yield at(definition, "mountPoints", f"container {part['name']} has no writable place")
            for mount in mounts:
                if mount["sourceVolume"] not in volumes:
                    yield at(definition, "mountPoints", f"there is no volume {mount['sourceVolume']}")


def _command(render: Render) -> Iterator[Problem]:
    """The process itself gets SIGTERM, and says whether it is well; a Dockerfile's check does not count."""
    for definition in render.of_type(TASK_DEFINITION):
        for part in containers(definition):
            command = [*part.get("entryPoint", []), *part.get("command", [])]
            if command[:1] and command[0] in _SHELLS:
                yield at(definition, "command", f"the shell of container {part['name']} swallows SIGTERM")
            if not part.get("essential", True):
                continue
            health = part.get("healthCheck", {}).get("command", ["NONE"])
            if health[0] == "NONE":
                yield at(definition, "healthCheck", f"container {part['name']} has none")
            elif health[0] != "CMD":
                yield at(definition, "healthCheck", f"{health[0]} needs a shell; write CMD and the words")


def _logs(render: Render) -> Iterator[Problem]:
    """Every container logs to a group that exists, and never stands still for it."""
    groups = {group.inputs["name"] for group in render.of_type(LOG_GROUP)}
    for definition in render.of_type(TASK_DEFINITION):
        for part in containers(definition):
            options = part.get("logConfiguration", {}).get("options", {})
            if options.get("awslogs-group") not in groups:
                yield at(definition, "logConfiguration", f"there is no log group {options.get('awslogs-group')}")
            if options.get("mode") != "non-blocking":
                yield at(definition, "logConfiguration", "a container blocks when its log cannot be delivered")


def _rolling(render: Render) -> Iterator[Problem]:
    """New tasks start before old ones stop, at every number of tasks that the service may have."""
    for service in render.of_type(SERVICE):
        inputs = service.inputs
        percent = inputs.get("deploymentMaximumPercent", 200)
        if inputs.get("deploymentMinimumHealthyPercent") != 100:
            yield at(service, "deploymentMinimumHealthyPercent", "below 100 a deployment starts with fewer tasks")
        if inputs.get("deploymentController", {}).get("type", "ECS") != "ECS":
            yield at(service, "deploymentController", "only ECS' own deployments roll one by one")
        target = scaled(render, service)
        counts = range(
            max(1, target.inputs["minCapacity"] if target else inputs["desiredCount"]),
            (target.inputs["maxCapacity"] if target else inputs["desiredCount"]) + 1,
        )
        for tasks in counts:
            if running_limit(tasks, percent) <= tasks:
                yield at(
                    service, "deploymentMaximumPercent", f"{percent} % of {tasks} tasks leave no room for a new one"
                )
                break


def _rollback(render: Render) -> Iterator[Problem]:
    """A deployment that fails goes back, by the circuit breaker or by alarms that exist."""
    alarms = {alarm.inputs["name"] for alarm in render.of_type(ALARM)}
    for service in render.of_type(SERVICE):
        if service.inputs.get("deploymentCircuitBreaker") != {"enable": True, "rollback": True}:
            yield at(service, "deploymentCircuitBreaker", "a deployment that fails does not roll back")
        guards = service.inputs.get("alarms", {})
        if queue_of(render, service) is not None and not (guards.get("enable") and guards.get("rollback")):
            yield at(service, "alarms", "no alarm rolls a deployment of these workers back")
        for name in guards.get("alarmNames", []):
            if name not in alarms:
                yield at(service, "alarms", f"there is no alarm {name}")


def _capacity(render: Render) -> Iterator[Problem]:
    """Capacity providers exclude a launch type; what must survive does not run on Spot."""
    known = {
        name
        for providers in render.of_type("ClusterCapacityProviders")
        for name in providers.inputs.get("capacityProviders", [])
    }
    for service in render.of_type(SERVICE):
        strategies = service.inputs.get("capacityProviderStrategies", [])
        if strategies and "launchType" in service.inputs:
            yield at(service, "launchType", "excludes capacityProviderStrategies")
        for entry in strategies:
            if entry["capacityProvider"] not in known:
                yield at(service, "capacityProviderStrategies", f"the cluster has no {entry['capacityProvider']}")
        if sum(entry.get("base", 0) > 0 for entry in strategies) > 1:
            yield at(service, "capacityProviderStrategies", "only one provider can have a base")
        spot = any(entry["capacityProvider"] == "FARGATE_SPOT" for entry in strategies)
        if spot and not any(e["capacityProvider"] == "FARGATE" and e.get("base", 0) >= 1 for e in strategies):
            yield at(service, "capacityProviderStrategies", "no task survives when Spot has nothing to give")


def _placement(render: Render) -> Iterator[Problem]:
    """Private addresses, spread over zones."""
    for service in render.of_type(SERVICE):
        if service.inputs["networkConfiguration"].get("assignPublicIp"):
            yield at(service, "networkConfiguration.assignPublicIp", "tasks get public addresses")
        if service.inputs.get("availabilityZoneRebalancing") != "ENABLED":
            yield at(service, "availabilityZoneRebalancing", "is not ENABLED: tasks stay where a lost zone left them")


def _desired_count(render: Render) -> Iterator[Problem]:
    """Autoscaling owns the number of tasks, or Pulumi does: never both, never none."""
    for service in render.of_type(SERVICE):
        ignored = "desiredCount" in service.ignore_changes
        if scaled(render, service) is not None and not ignored:
            yield at(service, "desiredCount", "autoscaling owns it: every `pulumi up` would scale back")
        elif scaled(render, service) is None and ignored:
            yield at(service, "desiredCount", "nothing owns it: a new number would change nothing")
        for name in service.ignore_changes:
            if name != "desiredCount":
                yield at(service, name, "changes of it are ignored")


def _exec(render: Render) -> Iterator[Problem]:
    """Sessions in containers are recorded, and encrypted."""
    for cluster in render.of_type("ecs/cluster:Cluster"):
        configuration = cluster.inputs.get("configuration", {}).get("executeCommandConfiguration", {})
        if configuration.get("logging") != "OVERRIDE" or "kmsKeyId" not in configuration:
            yield at(cluster, "configuration", "sessions of ECS Exec are not recorded in an own, encrypted log")
        insights = [s["value"] for s in cluster.inputs.get("settings", []) if s["name"] == "containerInsights"]
        if insights not in (["enabled"], ["enhanced"]):
            yield at(cluster, "settings", "Container Insights is off: RunningTaskCount does not exist")


def _waits(render: Render) -> Iterator[Problem]:
    """A task that starts before its role, its route or its password exists counts as a failed deployment."""
    always = [r.urn for type_ in (*_PLACES, GROUP) for r in render.of_type(type_)]
    always += [r.urn for r in render.of_type("ClusterCapacityProviders")]
    always += [r.urn for r in render.of_type("vpc/securityGroupEgressRule:SecurityGroupEgressRule")]
    for service in render.of_type(SERVICE):
        definition = definition_of(render, service)
        before = {*service.dependencies, *definition.dependencies}
        for urn in always + _policies_of(render, definition) + _read_by(render, definition):
            if urn not in before:
                yield at(service, "", f"does not wait for {urn.rpartition('$')[2]}")


def _policies_of(render: Render, definition: Resource) -> list[str]:
    roles = {
        role_name(definition.inputs[key]) for key in ("executionRoleArn", "taskRoleArn") if key in definition.inputs
    }
    policies = [*render.of_type("iam/rolePolicy:RolePolicy"), *render.of_type("RolePolicyAttachment")]
    return [policy.urn for policy in policies if policy.inputs["role"] in roles]


def _read_by(render: Render, definition: Resource) -> list[str]:
    """The values of the stack's own secrets that a container reads."""
    read = [entry["valueFrom"] for part in containers(definition) for entry in part.get("secrets", [])]
    versions = render.of_type("secretsmanager/secretVersion:SecretVersion")
    return [made.urn for made in versions if any(made.inputs["secretId"] in reference for reference in read)]


def _spread(render: Render) -> Iterator[Problem]:
    """A lost zone takes no service with it."""
    for service in render.of_type(SERVICE):
        subnets = service.inputs["networkConfiguration"]["subnets"]
        if len(set(subnets)) < 2:
            yield at(service, "networkConfiguration.subnets", "tasks run in one zone")


CHECKS: Final[Checks] = {
    "ecs.sizes": _sizes,
    "ecs.stop": _stop,
    "ecs.hardened": _hardened,
    "ecs.command": _command,
    "ecs.logs": _logs,
    "ecs.rolling": _rolling,
    "ecs.rollback": _rollback,
    "ecs.capacity": _capacity,
    "ecs.placement": _placement,
    "ecs.desired-count": _desired_count,
    "ecs.exec": _exec,
    "ecs.waits": _waits,
    "ecs.spread": _spread,
}
