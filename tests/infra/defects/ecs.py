"""Defects of task definitions, services and the image."""

from __future__ import annotations

from typing import Any, Final

from tests.infra.defects.draft import (
    Defect,
    Draft,
    container,
    defect,
    document,
    drop,
    grant,
    option,
    put,
    remove,
    statement,
    variable,
    without,
)

SERVICE: Final = "ecs/service:Service"
DEFINITION: Final = "ecs/taskDefinition:TaskDefinition"
REPOSITORY: Final = "ecr/repository:Repository"
SECRET: Final = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:celery-fleet/prod/redis-password-AbCdEf"


def _one_role(draft: Draft) -> None:
    inputs = draft.find(DEFINITION, "celery").inputs
    inputs["taskRoleArn"] = inputs["executionRoleArn"]


def _tag_instead_of_digest(draft: Draft) -> None:
    def edit(found: Any) -> None:
        found[0]["image"] = found[0]["image"].partition("@")[0] + ":latest"

    document(DEFINITION, "celery", "containerDefinitions", edit)(draft)


def _second_container(draft: Draft) -> None:
    def edit(found: Any) -> None:
        found.append({**found[0], "name": "sidecar", "memory": 3072})

    document(DEFINITION, "celery", "containerDefinitions", edit)(draft)


def _no_wait(draft: Draft) -> None:
    service = draft.find(SERVICE, "celery")
    service.dependencies[:] = [urn for urn in service.dependencies if "celery-execution" not in urn]


def _no_image(draft: Draft) -> None:
    definition = draft.find(DEFINITION, "celery")
    found = definition.property_dependencies["containerDefinitions"]
    found[:] = [urn for urn in found if "docker:index" not in urn]


DEFECTS: Final[dict[str, Defect]] = {
    "memory that Fargate does not sell with this cpu": defect("ecs.sizes", put(DEFINITION, "celery", "memory", "2048")),
    "cpu that Fargate does not sell": defect("ecs.sizes", put(DEFINITION, "celery", "cpu", "1500")),
    "containers add up to more than the task": defect("ecs.sizes", _second_container),
    "reservation above the hard limit": defect("ecs.sizes", container("celery", "memoryReservation", 4096)),
    "no hard limit": defect("ecs.sizes", without("celery", "memory")),
    "stop timeout above 120 s": defect("ecs.stop", container("celery", "stopTimeout", 300)),
    "grace longer than the stop timeout": defect("ecs.stop", variable("celery", "FLEET_SHUTDOWN_GRACE", "130")),
    "health check only in the Dockerfile": defect("ecs.command", without("celery", "healthCheck")),
    "health check by a shell": defect(
        "ecs.command", container("celery", "healthCheck.command", ["CMD-SHELL", "python -m service healthcheck"])
    ),
    "start period beyond the limit": defect("api.requests", container("celery", "healthCheck.startPeriod", "120")),
    "root": defect("ecs.hardened", without("celery", "user")),
    "writable root file system": defect("ecs.hardened", container("celery", "readonlyRootFilesystem", False)),
    "no writable place": defect("ecs.hardened", without("celery", "mountPoints")),
    "a mount without its volume": defect("ecs.hardened", remove(DEFINITION, "celery", "volumes")),
    "no init process": defect("ecs.hardened", container("celery", "linuxParameters.initProcessEnabled", False)),
    "capabilities kept": defect("ecs.hardened", container("celery", "linuxParameters.capabilities", {"drop": []})),
    "privileged": defect("ecs.hardened", container("celery", "privileged", True)),
    "a log group that nobody makes": defect(
        "ecs.logs", container("celery", "logConfiguration.options.awslogs-group", "/celery-fleet/prod/celry")
    ),
    "a log that can block": defect("ecs.logs", container("celery", "logConfiguration.options.mode", "blocking")),
    "133 % of three tasks": defect("ecs.rolling", put(SERVICE, "celery", "deploymentMaximumPercent", 133)),
    "stop before start": defect("ecs.rolling", put(SERVICE, "celery", "deploymentMinimumHealthyPercent", 50)),
    "blue and green workers": defect(
        "ecs.rolling", put(SERVICE, "celery", "deploymentController", {"type": "CODE_DEPLOY"})
    ),
    "circuit breaker that does not roll back": defect(
        "ecs.rollback", put(SERVICE, "celery", "deploymentCircuitBreaker.rollback", False)
    ),
    "rollback on an alarm that does not exist": defect(
        "ecs.rollback", put(SERVICE, "celery", "alarms.alarmNames", ["celery-fleet-prod-celery-old"])
    ),
    "no alarm rolls back": defect("ecs.rollback", remove(SERVICE, "celery", "alarms")),
    "launch type beside capacity providers": defect("ecs.capacity", put(SERVICE, "celery", "launchType", "FARGATE")),
    "everything on Spot": defect(
        "ecs.capacity",
        put(SERVICE, "celery", "capacityProviderStrategies", [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]),
        base="staging",
    ),
    "a provider that the cluster does not have": defect(
        "ecs.capacity",
        put("ClusterCapacityProviders", None, "capacityProviders", ["FARGATE"]),
        base="spot-in-prod",
    ),
    "public address": defect("ecs.placement", put(SERVICE, "celery", "networkConfiguration.assignPublicIp", True)),
    "zones not balanced": defect("ecs.placement", put(SERVICE, "celery", "availabilityZoneRebalancing", "DISABLED")),
    "one zone": defect("ecs.spread", put(SERVICE, "celery", "networkConfiguration.subnets", ["private-1-id"])),
    "desired count fights autoscaling": defect("ecs.desired-count", option(SERVICE, "celery", ignore_changes=[])),
    "desired count that nobody owns": defect(
        "ecs.desired-count", option(SERVICE, "dead-letter", ignore_changes=["desiredCount"])
    ),
    "ignored under a name that does not exist": defect(
        "ecs.desired-count", option(SERVICE, "celery", ignore_changes=["desired_count"])
    ),
    "sessions not recorded": defect(
        "ecs.exec", put("ecs/cluster:Cluster", None, "configuration.executeCommandConfiguration.logging", "NONE")
    ),
    "no Container Insights": defect("ecs.exec", remove("ecs/cluster:Cluster", None, "settings")),
    "a service that does not wait for its role": defect("ecs.waits", _no_wait),
    "secret read by the task role": defect(
        "iam.execution", grant("celery-task", ["secretsmanager:GetSecretValue"], [SECRET])
    ),
    "execution role that cannot read the secret": defect(
        "iam.execution",
        statement("celery-execution", "secretsmanager:GetSecretValue", Resource=[f"{SECRET[:-6]}XyZxYz"]),
    ),
    "one role for both": defect("iam.apart iam.execution iam.protection", _one_role),
    "no task protection": defect(
        "iam.protection", statement("celery-task", "ecs:UpdateTaskProtection", Action=["ecs:GetTaskProtection"])
    ),
    "image for the builder's own platform": defect(
        "image.platform", remove("docker:index/image:Image", None, "build.platform")
    ),
    "tasks on another architecture": defect(
        "image.platform", put(DEFINITION, "celery", "runtimePlatform.cpuArchitecture", "ARM64")
    ),
    "image by tag": defect("image.digest", _tag_instead_of_digest),
    "image written by hand": defect("image.digest", _no_image),
    "mutable tags": defect("image.repository", put(REPOSITORY, None, "imageTagMutability", "MUTABLE")),
    "images not scanned": defect("image.repository", remove(REPOSITORY, None, "imageScanningConfiguration")),
    "a repository that grows for ever": defect("image.repository", drop("ecr/lifecyclePolicy:LifecyclePolicy")),
    "shell form": defect("ecs.command", container("celery", "command", ["sh", "-c", "python -m service $0", "worker"])),
}
