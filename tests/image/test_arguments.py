"""The task definition as podman's arguments, without podman."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.image.arguments import health_command, run_arguments
from scripts.image.errors import ImageError
from scripts.image.limits import judge
from scripts.render import Render
from scripts.render.services import services

pytestmark = pytest.mark.timeout(600)  # the first one waits until the stack is rendered


def task(**container: Any) -> dict[str, Any]:
    return {
        "family": "worker",
        "cpu": "2048",
        "memory": "4096",
        "networkMode": "awsvpc",
        "volumes": [{"name": "tmp"}],
        "containerDefinitions": [{"name": "service", "image": "registry/service", **container}],
    }


def test_everything_that_the_definition_says_is_said_to_podman() -> None:
    definition = task(
        command=["python", "-m", "service", "worker"],
        cpu=1024,
        memory=2048,
        memoryReservation=1024,
        stopTimeout=120,
        user="10001:10001",
        readonlyRootFilesystem=True,
        privileged=False,
        linuxParameters={"initProcessEnabled": True, "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]}},
        mountPoints=[{"sourceVolume": "tmp", "containerPath": "/tmp", "readOnly": False}],
        environment=[{"name": "FLEET_STACK", "value": "prod"}],
        secrets=[{"name": "FLEET_REDIS_PASSWORD", "valueFrom": "arn"}],
        ulimits=[{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}],
        workingDirectory="/app",
    )
    words = run_arguments(definition, "localhost/service:tag", ["FLEET_REDIS_HOST"])
    at = words.index("localhost/service:tag")
    assert words[at + 1 :] == ["python", "-m", "service", "worker"]
    options = " ".join(words[:at])
    for option in (
        "--network host",
        "--cpus 2",
        "--cpu-shares 1024",
        "--memory 2048m --memory-swap 2048m",
        "--memory-reservation 1024m",
        "--stop-timeout 120",
        "--user 10001:10001",
        "--read-only --read-only-tmpfs=false",
        "--init",
        "--cap-add SYS_PTRACE --cap-drop ALL",
        "--volume /tmp",
        "--env FLEET_STACK",
        "--env FLEET_REDIS_PASSWORD",
        "--env FLEET_REDIS_HOST",
        "--ulimit nofile=1024:4096",
        "--workdir /app",
    ):
        assert f" {option} " in f" {options} "
    assert "--privileged" not in words
    # Values go through the environment: no secret in a process list.
    assert "arn" not in options


def test_what_the_definition_does_not_ask_for_is_not_given() -> None:
    words = run_arguments(task(command=["true"], readonlyRootFilesystem=False, privileged=True), "image")
    assert "--privileged" in words
    assert not {"--read-only", "--init", "--cap-drop", "--volume", "--user"} & set(words)


def test_an_entry_point_comes_before_the_command() -> None:
    words = run_arguments(task(entryPoint=["/bin/tool", "-x"], command=["run"]), "image")
    assert words[-5:] == ["--entrypoint", "/bin/tool", "image", "-x", "run"]


def test_a_part_without_a_translation_is_refused_with_its_place() -> None:
    definition = task(
        dockerLabels={"a": "b"},
        linuxParameters={"sharedMemorySize": 64},
        mountPoints=[{"sourceVolume": "files", "containerPath": "/files"}],
    )
    with pytest.raises(ImageError) as caught:
        run_arguments({**definition, "ipcMode": "host"}, "image")
    for place in (
        "ipcMode",
        "containerDefinitions[0].dockerLabels",
        "containerDefinitions[0].linuxParameters.sharedMemorySize",
        "files is no scratch volume",
    ):
        assert place in str(caught.value)


def test_health_checks_run_as_ecs_runs_them() -> None:
    assert health_command({"healthCheck": {"command": ["CMD", "python", "-V"]}}) == ["python", "-V"]
    assert health_command({"healthCheck": {"command": ["CMD-SHELL", "a || b"]}}) == ["/bin/sh", "-c", "a || b"]


def test_every_service_of_the_stack_can_be_translated(prod: Render) -> None:
    for service in services(prod):
        words = run_arguments(service.task, "image", service.secrets)
        assert tuple(words[words.index("image") + 1 :]) == service.command


LIMITED = task(cpu=1024, memory=2048, memoryReservation=1024)


def test_limits_are_found_in_both_versions_of_the_control_groups() -> None:
    old = {
        "memory/memory.limit_in_bytes": "2147483648\n",
        "memory/memory.soft_limit_in_bytes": "1073741824\n",
        "cpu/cpu.shares": "1024\n",
        "cpu/cpu.cfs_quota_us": "200000\n",
    }
    new = {"memory.max": "2147483648", "memory.low": "1073741824", "cpu.weight": "39", "cpu.max": "200000 100000"}
    for files in (old, new):
        there = {f"/sys/fs/cgroup/{name}": content for name, content in files.items()}
        assert judge(LIMITED, there.get) == ([], [])


def test_a_limit_that_is_not_kept_is_told() -> None:
    wrong, missing = judge(LIMITED, lambda path: "max" if path.endswith("memory.max") else None)
    assert wrong == ["memory: max, not 2147483648"]
    assert missing == ["memory reservation", "cpu share", "cpu of the task"]
