"""The container definition of a service, except for what AWS decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: The user that the image creates.
USER: Final = "10001:10001"
HEALTH_CHECK: Final = ("CMD", "python", "-m", "service", "healthcheck")
WORKER_COMMAND: Final = ("python", "-m", "service", "worker")
MONITOR_COMMAND: Final = ("python", "-m", "service", "monitor")
BEAT_COMMAND: Final = ("python", "-m", "service", "beat")
FLOWER_COMMAND: Final = ("python", "-m", "service", "flower")
#: The only writable place; the image declares it as a VOLUME, so it keeps its mode 1777.
SCRATCH_VOLUME: Final = "tmp"
SCRATCH_PATH: Final = "/tmp"  # noqa: S108 - the mount point inside the container


def container(
    name: str,
    *,
    image: Any,
    command: tuple[str, ...],
    cpu: int,
    memory: int,
    memory_reservation: int,
    stop_timeout: int,
    environment: Mapping[str, Any],
    secrets: Mapping[str, Any],
    log_group: Any,
    region: Any,
    writable: bool = False,
) -> dict[str, Any]:
    """Return one essential container as ECS wants it in a task definition.

    Args:
        name: The container's name.
        image: Reference with digest.
        command: Exec form: a shell would swallow SIGTERM.
        cpu: Guaranteed cpu units.
        memory: MiB above which it is killed.
        memory_reservation: MiB that are guaranteed.
        stop_timeout: Seconds from SIGTERM to SIGKILL.
        environment: Variables; values may be outputs.
        secrets: Variable -> what the execution role reads: a secret's ARN, with or without JSON key, stage and version.
        log_group: Name of its log group.
        region: Region of its log group.
        writable: Whether its file system can be written to, as the agent of ECS Exec needs it.
    """
    return {
        "name": name,
        "image": image,
        "essential": True,
        "command": list(command),
        "cpu": cpu,
        "memory": memory,
        "memoryReservation": memory_reservation,
        "stopTimeout": stop_timeout,
        "user": USER,
        "readonlyRootFilesystem": not writable,
        "privileged": False,
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "mountPoints": [{"sourceVolume": SCRATCH_VOLUME, "containerPath": SCRATCH_PATH, "readOnly": False}],
        "environment": [{"name": key, "value": environment[key]} for key in sorted(environment)],
        "secrets": [{"name": key, "valueFrom": secrets[key]} for key in sorted(secrets)],
        "healthCheck": {
            "command": list(HEALTH_CHECK),
            "interval": 30,
            "timeout": 10,
            "retries": 3,
            # A worker waits for Redis before it answers.
            "startPeriod": 120,
        },
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": name,
                # A worker must not stand still because its log cannot be delivered.
                "mode": "non-blocking",
                "max-buffer-size": "25m",
            },
        },
    }


def secret_arn(reference: str) -> str:
    """Return the secret's ARN of where ECS reads a variable: without JSON key, stage and version behind it."""
    return ":".join(reference.split(":")[:7])
