"""Flower in the stack: who reaches it, and what it may."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.checks.views import allowed
from scripts.render import Render
from scripts.render.services import EcsService, services
from service import fleet
from service.settings import load_settings
from tests.infra.renders import Renders
from tests.infra.test_services import container_of

TASK = "arn:aws:ecs:eu-central-1:123456789012:task/celery-fleet-prod/0123456789abcdef0123456789abcdef"
RUNTIME = "0123456789abcdef0123456789abcdef-2659278254"
#: Answers as the AWS CLI does, and writes down how the last session was begun.
AWS = f"""#!/usr/bin/env bash
case " $* " in
    *" list-tasks --cluster celery-fleet-prod --service-name celery-fleet-prod-flower "*) echo {TASK} ;;
    *" describe-tasks --cluster celery-fleet-prod --tasks {TASK} "*) echo {RUNTIME} ;;
    *" ssm start-session "*) printf '%s\\n' "$@" >"$SESSION" ;;
    *) echo "not expected: $*" >&2; exit 1 ;;
esac
"""


def flower_of(stack: Render) -> EcsService:
    (found,) = (service for service in services(stack) if service.role == "flower")
    return found


def test_it_only_shows_in_prod_and_the_service_understands_what_the_stack_says(
    staging: Render, prod: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stack, read_only in ((staging, False), (prod, True)):
        flower = flower_of(stack)
        assert flower.command == ("python", "-m", "service", "flower")
        for name in [name for name in os.environ if name.startswith("FLEET_")]:
            monkeypatch.delenv(name)
        for name, value in {**flower.environment, **dict.fromkeys(flower.secrets, "x" * 48)}.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert (settings.flower_read_only, settings.flower_events) == (read_only, True)
        assert (settings.flower_host, settings.flower_port) == ("127.0.0.1", fleet.FLOWER_PORT)
        assert settings.flower_password


def test_its_password_is_made_up_and_nobody_else_reads_it(stack: Render) -> None:
    version = stack.one("SecretVersion", "flower-password")
    assert version.property_dependencies["secretString"] == [stack.one("RandomPassword", "flower-password").urn]
    readers = {
        service.role: name
        for service in services(stack)
        for name, reference in service.secrets.items()
        if reference.startswith(version.inputs["secretId"])
    }
    assert readers == {"flower": "FLEET_FLOWER_PASSWORD"}
    assert stack.outputs["flowerPasswordSecret"] == version.inputs["secretId"]


def test_a_session_is_possible_in_its_container_alone_and_is_logged(stack: Render) -> None:
    open_ones = {s.name for s in stack.of_type("ecs/service:Service") if s.inputs["enableExecuteCommand"]}
    writable = {d.name for d in stack.of_type("TaskDefinition") if not container_of(d)["readonlyRootFilesystem"]}
    assert open_ones == writable == {"flower"}
    with_channel = {
        service.name
        for service in services(stack)
        if any("ssmmessages:OpenDataChannel" in s["Action"] for s in allowed(stack, f"{service.name}-task"))
    }
    assert with_channel == {f"celery-fleet-{stack.stack}-flower"}
    # And it may do nothing else.
    actions = {action for s in allowed(stack, f"celery-fleet-{stack.stack}-flower-task") for action in s["Action"]}
    assert {action.partition(":")[0] for action in actions} == {"ssmmessages", "logs", "kms"}


def test_the_tunnel_leads_to_the_container_that_runs_now(prod: Render, tmp_path: Path) -> None:
    program, session = tmp_path / "aws", tmp_path / "session"
    program.write_text(AWS)
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SESSION": str(session)}
    done = subprocess.run(
        ["sh", "-c", prod.outputs["flowerTunnel"]], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = session.read_text().splitlines()
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given["--target"] == f"ecs:celery-fleet-prod_0123456789abcdef0123456789abcdef_{RUNTIME}"
    assert given["--document-name"] == "AWS-StartPortForwardingSession"
    ports: dict[str, Any] = json.loads(given["--parameters"])
    assert ports == {"portNumber": ["5555"], "localPortNumber": ["5555"]}
    assert prod.outputs["flowerAddress"] == "http://fleet@localhost:5555/flower/"


@pytest.mark.slow
@pytest.mark.parametrize("on", [True, False])
def test_without_nat_the_session_has_its_endpoints(on: bool, renders: Renders) -> None:
    alone = renders.of("prod", {"network": {"nat": "none"}, "flower": {"enabled": on}})
    assert ("ssmmessages" in {endpoint.name for endpoint in alone.of_type("VpcEndpoint")}) is on


@pytest.mark.slow
def test_a_stack_can_do_without(renders: Renders) -> None:
    without = renders.named("no-flower")
    assert not [resource.urn for resource in without.resources if "flower" in resource.name]
    assert not [name for name in without.outputs if "lower" in name]
    assert not [s.name for s in without.of_type("ecs/service:Service") if s.inputs["enableExecuteCommand"]]
    assert all(container_of(d)["readonlyRootFilesystem"] for d in without.of_type("TaskDefinition"))
