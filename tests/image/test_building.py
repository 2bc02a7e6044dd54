"""How the image is built: what needs no container."""

from __future__ import annotations

import configparser
import os
import shutil
from pathlib import Path

import pytest

from infra.plan import container
from scripts.image import engine
from scripts.image.build import ROOT, build_command
from scripts.image.errors import ImageError
from scripts.image.index import CERTIFICATES, pip_configuration
from scripts.render import Render
from scripts.render.services import services

pytestmark = pytest.mark.timeout(600)  # the first one waits until the stack is rendered


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each on one line."""
    text = (ROOT / "service" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined)]


def last_stage() -> dict[str, str]:
    found = instructions()
    start = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return dict(found[start:])


def test_dockerfile_and_task_definitions_agree(prod: Render) -> None:
    stage = last_stage()
    for service in services(prod):
        (definition,) = service.task["containerDefinitions"]
        assert stage["USER"] == service.user == container.USER
        assert stage["VOLUME"] == f'["{definition["mountPoints"][0]["containerPath"]}"]'
        # A check in the image would be ignored by ECS: the definition has its own.
        assert definition["healthCheck"]["command"][0] == "CMD"
        assert "workingDirectory" not in definition
    assert stage["WORKDIR"] == "/app"
    # SIGTERM is what ECS sends and what the worker understands.
    assert not {"HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "SHELL", "EXPOSE"} & set(stage)


def test_commands_are_in_exec_form() -> None:
    assert [rest[0] for word, rest in instructions() if word in {"CMD", "ENTRYPOINT"}] == ["["]


def test_pulumi_s_arguments_are_podman_s(prod: Render) -> None:
    inputs = prod.one("docker:index/image:Image").inputs
    words = build_command(inputs, "localhost/base", "localhost/service:tag")
    assert words[words.index("--file") + 1] == str(ROOT / "service" / "Dockerfile")
    assert [words[i + 1] for i, word in enumerate(words) if word == "--build-arg"] == ["BASE=localhost/base"]
    assert "--pull=never" in words


def test_the_build_learns_of_this_machine_only_where_the_index_is() -> None:
    listed = "\n".join(
        (
            "global.index-url='http://first/index'",
            "install.timeout='5'",
            ":env:.index-url='http://second/index'",
            ":env:.default-timeout='180'",
            "global.extra-index-url='file:///opt/packages http://third/index'",
            "global.find-links='/opt/wheels'",
            "global.constraint='/etc/constraints.txt'",
            "global.cert='/home/me/ca.pem'",
        )
    )
    parsed = configparser.RawConfigParser()
    parsed.read_string(pip_configuration(listed))
    assert dict(parsed["global"]) == {
        "cert": CERTIFICATES,
        "index-url": "http://second/index",
        "extra-index-url": "http://third/index",
        "timeout": "180",
    }


def test_a_machine_that_cannot_run_containers_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, **_: None if program in {"podman", "runc"} else "/bin/there")
    with pytest.raises(ImageError, match=r"^podman runc missing: install them \(Debian: apt-get install podman runc\)"):
        engine.require_programs()


def test_a_user_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/bin/there")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ImageError, match="needs root"):
        engine.require_programs()


def test_images_are_kept_in_a_place_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine.default_directory().is_relative_to(tmp_path)
    assert "nofile=1024:1024" in engine.configuration(1024, 512)
