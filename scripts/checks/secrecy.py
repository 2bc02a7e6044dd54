"""No secret in clear: not in an input, not in an output, not in a container's environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import TASK_DEFINITION, containers, variables
from scripts.render import Render
from scripts.render.monitor import SECRET
from scripts.render.placeholders import results_of

#: Inputs that must arrive marked as secret: type -> paths; `[]` stands for any entry of a list.
_MARKED: Final = {
    "aws:elasticache/user:User": ("authenticationMode.passwords[]", "passwords[]"),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("authToken",),
    "aws:secretsmanager/secretVersion:SecretVersion": ("secretString",),
    "docker:index/image:Image": ("registry.password",),
}
_SOUNDS_SECRET: Final = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY", re.IGNORECASE)
_CREDENTIALS_IN_URL: Final = re.compile(r"\w+://[^/@\s:]*:[^/@\s]+@")
_SECRET_ARN: Final = re.compile(r"arn:[\w-]+:(secretsmanager:[\w-]+:\d{12}:secret|ssm:[\w-]+:\d{12}:parameter)")


def _in_clear(render: Render) -> Iterator[Problem]:
    """What the render made up for generated passwords and tokens shows nowhere."""
    secrets = {f"{password.name}.result" for password in render.of_type("RandomPassword")}
    secrets.add(str(results_of("aws:ecr/getAuthorizationToken:getAuthorizationToken")["password"]))
    for resource in render.resources:
        for path, text in _texts(resource.inputs, ""):
            if any(secret in text for secret in secrets):
                yield at(resource, path, "shows a secret")
            if _CREDENTIALS_IN_URL.search(text):
                yield at(resource, path, "holds credentials in an address")
    for path, text in _texts(render.outputs, ""):
        if any(secret in text for secret in secrets):
            yield Problem(f"output {path}", "shows a secret")


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, value


def _marked(render: Render) -> Iterator[Problem]:
    """An input that is a secret by its nature is marked as one, else it stands in the state in clear."""
    for resource in render.resources:
        for path, text in _texts(resource.inputs, ""):
            if re.sub(r"\[\d+\]", "[]", path) in _MARKED.get(resource.type, ()) and text != SECRET:
                yield at(resource, path, "is not marked as secret")


def _environment(render: Render) -> Iterator[Problem]:
    """Secrets reach containers from Secrets Manager, not through their plain environment."""
    for definition in render.of_type(TASK_DEFINITION):
        if definition.secret_paths:
            yield at(definition, definition.secret_paths[0], "a secret is part of the task definition")
        for part in containers(definition):
            plain, taken = variables(part), {entry["name"] for entry in part.get("secrets", [])}
            for name, value in plain.items():
                if _SOUNDS_SECRET.search(name) and not _SECRET_ARN.match(value):
                    yield at(definition, f"environment.{name}", "sounds like a secret; take it from Secrets Manager")
                if name in taken:
                    yield at(definition, f"environment.{name}", "stands among the secrets, too")
            for entry in part.get("secrets", []):
                if not _SECRET_ARN.match(entry["valueFrom"]):
                    yield at(definition, f"secrets.{entry['name']}", f"{entry['valueFrom']!r} is the ARN of no secret")


def _outputs(render: Render) -> Iterator[Problem]:
    """What the stack exports is for people to read."""
    if SECRET in json.dumps(render.outputs):
        yield Problem("outputs", "export a secret; export where it lies")


CHECKS: Final[Checks] = {
    "secrecy.in-clear": _in_clear,
    "secrecy.marked": _marked,
    "secrecy.environment": _environment,
    "secrecy.outputs": _outputs,
}
