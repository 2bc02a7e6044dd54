"""The render itself: faithful and deterministic; and what goes into the image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from pulumi.runtime import rpc

from infra.content import INCLUDED, context_files, image_tag
from scripts.preview.tree import lines
from scripts.render import Render, RenderError, render
from scripts.render.monitor import SECRET, DuplicateUrnError, RecordingMonitor, mask
from scripts.render.project import stack_config
from scripts.render.render import parse
from tests.infra.renders import Renders

ROOT = Path(__file__).parents[2]


def run_render(stack: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    command = [sys.executable, "-m", "scripts.render", stack]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_pool_renders_what_the_command_prints(staging: Render) -> None:
    done = run_render("staging")
    assert (done.returncode, done.stderr) == (0, "")
    # The image's tag follows the service package, which another test or a person may have touched in between.
    printed, pooled = parse(json.loads(without_tag(done.stdout))), json.loads(without_tag(json.dumps(asdict(staging))))
    assert json.loads(json.dumps(asdict(printed))) == pooled


def without_tag(text: str) -> str:
    return re.sub(r"/service:[0-9a-f]{16}", "/service:tag", text)


def test_an_unknown_stack_names_the_known_ones() -> None:
    done = run_render("qa")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "there is no stack 'qa'; known stacks: prod, staging\n"
    with pytest.raises(RenderError, match="known stacks"):
        render("qa")


def test_these_inputs_are_secret(stack: Render) -> None:
    secret = {resource.name: resource.secret_paths for resource in stack.resources if resource.secret_paths}
    assert secret == {
        "flower-password": ["secretString"],
        "redis-default": ["authenticationMode.passwords[0]"],
        "redis-workers": ["authenticationMode.passwords[0]"],
        "redis-password": ["secretString"],
        "service": ["registry.password"],
    }


def test_stacks_share_no_name(staging: Render, prod: Render) -> None:
    for type_ in ("metricAlarm:MetricAlarm", "iam/role:Role", "logGroup:LogGroup", "elasticache/user:User"):
        key = "userId" if type_.endswith("User") else "name"
        assert not {r.inputs[key] for r in staging.of_type(type_)} & {r.inputs[key] for r in prod.of_type(type_)}


OTHERS = ("existing-vpc", "valkey-iam-results", "no-flower", "no-beat")


@pytest.mark.parametrize("name", ["staging", "prod", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_person_is_told_of_every_log(name: str, renders: Renders) -> None:
    stack = renders.named(name)
    groups = {group.inputs["name"] for group in stack.of_type("logGroup:LogGroup")}
    assert set(stack.outputs["logGroups"].values()) == groups


def test_the_image_is_built_from_the_repository(stack: Render) -> None:
    image = stack.one("docker:index/image:Image")
    assert image.inputs["build"]["context"] == "."
    assert (ROOT / image.inputs["build"]["dockerfile"]).is_file()
    assert stack.outputs["image"].partition("@")[2].startswith("sha256:")


@pytest.mark.slow
def test_a_stack_that_names_an_image_builds_none(renders: Renders) -> None:
    stack = renders.named("named-image")
    assert list(stack.of_type("docker:index/image:Image")) == []
    digest = f"@sha256:{'ab' * 32}"
    assert stack.outputs["image"].endswith(digest)
    definitions = list(stack.of_type("ecs/taskDefinition:TaskDefinition"))
    assert len(definitions) == 10
    for definition in definitions:
        (part,) = json.loads(definition.inputs["containerDefinitions"])
        assert part["image"].endswith(digest)


def test_the_tag_follows_what_goes_into_the_image(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    code = tmp_path / "service" / "a.py"
    code.write_text("1")
    before = image_tag(tmp_path, {"BASE": "a"})
    (tmp_path / "service" / "__pycache__").mkdir()
    (tmp_path / "service" / "__pycache__" / "a.pyc").write_text("compiled")
    (tmp_path / "README.md").write_text("not in the image")
    assert image_tag(tmp_path, {"BASE": "a"}) == before
    assert image_tag(tmp_path, {"BASE": "b"}) != before
    code.chmod(0o755)
    executable = image_tag(tmp_path, {"BASE": "a"})
    assert executable != before
    code.write_text("2")
    assert image_tag(tmp_path, {"BASE": "a"}) not in (before, executable)


def test_the_fingerprint_covers_the_build_context() -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} | {".dockerignore"} == set(INCLUDED)
    copied = {
        line.split()[1]
        for line in (ROOT / "service" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
    }
    assert copied <= set(INCLUDED)
    assert ROOT / "service" / "Dockerfile" in set(context_files(ROOT))


def test_the_dockerfile_declares_the_volume_that_a_plain_user_writes_to() -> None:
    text = (ROOT / "service" / "Dockerfile").read_text()
    assert 'VOLUME ["/tmp"]' in text
    assert "USER 10001:10001" in text
    assert "--require-hashes" in text


def test_the_stack_files_configuration_is_read_as_the_cli_reads_it() -> None:
    values, secret = stack_config("prod", {"redis": {"shards": 4}})
    assert json.loads(values["celery-fleet:fleet"])["redis"] == {"shards": 4}
    assert values["aws:region"] == "eu-central-1"
    assert secret == []


def test_a_taken_urn_is_refused() -> None:
    class Request:
        parent, type, name = "", "pkg:index:Type", "name"

    monitor = RecordingMonitor()
    monitor.recording.resources.append({"urn": monitor.make_urn("", Request.type, Request.name)})
    with pytest.raises(DuplicateUrnError, match="pkg:index:Type::name"):
        monitor.RegisterResource(Request)


def test_urns_carry_the_types_of_all_parents(stack: Render) -> None:
    service = stack.one("ecs/service:Service", "celery")
    assert service.urn == (
        f"urn:pulumi:{stack.stack}::celery-fleet::celery-fleet:index:QueueWorker"
        "$celery-fleet:index:FargateService$aws:ecs/service:Service::celery"
    )


def test_masking_finds_secrets_at_any_depth() -> None:
    secret = {rpc._special_sig_key: rpc._special_secret_sig, "value": "hunter2"}
    masked, paths = mask({"a": [{"b": secret}, 1.0], "c": "plain"})
    assert masked == {"a": [{"b": SECRET}, 1], "c": "plain"}
    assert paths == ["a[0].b"]


def test_the_preview_shows_every_resource_once(prod: Render) -> None:
    text = list(lines(prod))
    assert sum("─ " in line for line in text) == len(prod.resources)
    assert any(line.strip().endswith("aws:ecs/service:Service") and " 10 " in line for line in text)
