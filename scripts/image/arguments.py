"""A task definition as podman's arguments: pure, and whatever it cannot translate is refused, never left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from scripts.image.errors import ImageError

#: Parts of a task definition that ECS keeps to itself: names, roles, and what says where the task may run.
_TASK_ELSEWHERE: Final = {
    *("family", "tags", "executionRoleArn", "taskRoleArn", "requiresCompatibilities", "runtimePlatform", "trackLatest"),
    *("enableFaultInjection", "skipDestroy", "region"),
}
#: Parts of a container that are not options: the image is given, checks run by `podman exec`, the log is a file.
_CONTAINER_ELSEWHERE: Final = {"name", "image", "essential", "healthCheck", "logConfiguration", "command", "entryPoint"}


def run_arguments(task: Mapping[str, Any], image: str, variables: Iterable[str] = ()) -> list[str]:
    """Translate a task definition with one container.

    Args:
        task: As registered, its container definitions parsed.
        image: What to run in place of the image in the registry.
        variables: Names of further variables. Values are taken from podman's own environment by name, so that no
            secret stands in a process list.

    Returns:
        What follows `podman run`.

    Raises:
        ImageError: Names every part that has no translation, and where it is.
    """
    (container,) = task["containerDefinitions"]
    unknown: list[str] = []
    options = [
        *_translated(task, _TASK, _TASK_ELSEWHERE, "", unknown),
        *_translated(container, _CONTAINER, _CONTAINER_ELSEWHERE, "containerDefinitions[0].", unknown),
        *_translated(
            container.get("linuxParameters", {}), _LINUX, set(), "containerDefinitions[0].linuxParameters.", unknown
        ),
    ]
    volumes = {volume["name"] for volume in task.get("volumes", ()) if set(volume) == {"name"}}
    unknown += [
        f"volumes: {mount['sourceVolume']} is no scratch volume"
        for mount in container.get("mountPoints", ())
        if mount["sourceVolume"] not in volumes
    ]
    if unknown:
        raise ImageError("podman's arguments have no place for " + "; ".join(unknown))
    entry_point = container.get("entryPoint", [])
    return [
        *options,
        *(word for name in sorted(set(variables)) for word in ("--env", name)),
        *(("--entrypoint", entry_point[0]) if entry_point else ()),
        image,
        *entry_point[1:],
        *container.get("command", []),
    ]


def health_command(container: Mapping[str, Any]) -> list[str]:
    """The words of a container's health check, as they run inside it."""
    kind, *words = container["healthCheck"]["command"]
    return words if kind == "CMD" else ["/bin/sh", "-c", *words]


def _translated(
    part: Mapping[str, Any],
    table: Mapping[str, Callable[[Any], list[str]]],
    elsewhere: set[str],
    path: str,
    unknown: list[str],
) -> list[str]:
    unknown += [f"{path}{key}" for key in sorted(set(part) - set(table) - elsewhere)]
    return [word for key in sorted(set(part) & set(table)) for word in table[key](part[key])]


def _read_only(value: bool) -> list[str]:
    # Podman's own scratch places in a read-only container do not exist on ECS.
    return ["--read-only", "--read-only-tmpfs=false"] if value else []


def _names(entries: Iterable[Mapping[str, str]]) -> list[str]:
    return [word for entry in entries for word in ("--env", entry["name"])]


def _mounts(points: Iterable[Mapping[str, Any]]) -> list[str]:
    # A volume without a name gets the content, owner and mode that the image has there, as Fargate does it.
    return [
        word
        for point in points
        for word in ("--volume", point["containerPath"] + (":ro" if point.get("readOnly") else ""))
    ]


def _ulimits(limits: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        word for limit in limits for word in ("--ulimit", f"{limit['name']}={limit['softLimit']}:{limit['hardLimit']}")
    ]


def _capabilities(value: Mapping[str, list[str]]) -> list[str]:
    return [
        word
        for option, key in (("--cap-add", "add"), ("--cap-drop", "drop"))
        for name in value.get(key, ())
        for word in (option, name)
    ]


_TASK: Final[dict[str, Callable[[Any], list[str]]]] = {
    "containerDefinitions": lambda _: [],
    "volumes": lambda _: [],
    # The whole task may use this much; the task's memory is above that of its only container and says nothing more.
    "cpu": lambda units: ["--cpus", f"{int(units) / 1024:g}"],
    "memory": lambda _: [],
    # A network of its own on AWS; here the cluster listens on this machine's loopback.
    "networkMode": lambda _: ["--network", "host"],
}
_CONTAINER: Final[dict[str, Callable[[Any], list[str]]]] = {
    "cpu": lambda units: ["--cpu-shares", str(units)],
    # Fargate has no swap.
    "memory": lambda mib: ["--memory", f"{mib}m", "--memory-swap", f"{mib}m"],
    "memoryReservation": lambda mib: ["--memory-reservation", f"{mib}m"],
    "stopTimeout": lambda seconds: ["--stop-timeout", str(seconds)],
    "user": lambda user: ["--user", user],
    "workingDirectory": lambda path: ["--workdir", path],
    "readonlyRootFilesystem": _read_only,
    "privileged": lambda value: ["--privileged"] if value else [],
    "linuxParameters": lambda _: [],
    "mountPoints": _mounts,
    "environment": _names,
    "secrets": _names,
    "ulimits": _ulimits,
    "portMappings": lambda _: [],
}
_LINUX: Final[dict[str, Callable[[Any], list[str]]]] = {
    "initProcessEnabled": lambda value: ["--init"] if value else [],
    "capabilities": _capabilities,
}
