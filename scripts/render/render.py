"""A stack's rendered resources, for tests and other scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.render.project import ROOT


class RenderError(Exception):
    """The program refused to run; the text says why, one problem a line."""


@dataclass(frozen=True)
class Resource:
    """One registered resource.

    Attributes:
        type: Pulumi's type token.
        name: Logical name.
        urn: As the engine would give it.
        parent: URN of the component that it belongs to, empty at the top.
        component: Whether it is a component, which exists only in Pulumi.
        inputs: camelCase; a secret is the text `[secret]`.
        secret_paths: Where the secrets were.
        dependencies: URNs of everything that must exist first.
        property_dependencies: Input -> URNs that its value comes from.
        protect: Whether Pulumi refuses to delete it.
        ignore_changes: Inputs whose changes are ignored.
    """

    type: str
    name: str
    urn: str
    parent: str
    component: bool
    inputs: dict[str, Any]
    secret_paths: list[str]
    dependencies: list[str]
    property_dependencies: dict[str, list[str]]
    protect: bool
    ignore_changes: list[str]


@dataclass(frozen=True)
class Render:
    """A rendered stack.

    Attributes:
        stack: Its name.
        resources: Sorted by URN.
        outputs: Exported values.
    """

    stack: str
    resources: tuple[Resource, ...]
    outputs: dict[str, Any]

    def of_type(self, type_: str) -> list[Resource]:
        """Return the resources of a type; the end of the token is enough, e.g. `ecs/service:Service`."""
        return [resource for resource in self.resources if resource.type.endswith(type_)]

    def one(self, type_: str, name: str | None = None) -> Resource:
        """Return the only resource of a type, or the one called `name`.

        Raises:
            LookupError: If there is none or more than one.
        """
        found = [resource for resource in self.of_type(type_) if name in (None, resource.name)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} resources of type {type_} called {name}")
        return found[0]


def parse(document: Mapping[str, Any]) -> Render:
    """Read the document that `python -m scripts.render` prints."""
    return Render(
        stack=document["stack"],
        resources=tuple(
            Resource(
                type=resource["type"],
                name=resource["name"],
                urn=resource["urn"],
                parent=resource["parent"],
                component=resource["component"],
                inputs=resource["inputs"],
                secret_paths=resource["secretPaths"],
                dependencies=resource["dependencies"],
                property_dependencies=resource["propertyDependencies"],
                protect=resource["protect"],
                ignore_changes=resource["ignoreChanges"],
            )
            for resource in document["resources"]
        ),
        outputs=document["outputs"],
    )


def render(stack: str, config_overrides: Mapping[str, Any] | None = None, preview: bool = False) -> Render:
    """Render a stack in a process of its own (about 3 s).

    Args:
        stack: The stack's name.
        config_overrides: Laid over the stack file's `celery-fleet:fleet`.
        preview: As a first preview sees it: nothing exists yet, and inputs that depend on AWS' answers are unknown.

    Raises:
        RenderError: If the stack is unknown or its configuration is wrong.
    """
    command = [sys.executable, "-m", "scripts.render", stack]
    if config_overrides is not None:
        command += ["--config", json.dumps(config_overrides)]
    if preview:
        command.append("--preview")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RenderError(done.stderr.strip())
    return parse(json.loads(done.stdout))
