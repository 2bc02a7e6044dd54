"""A render that can be changed, and the ways in which a defect changes it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from scripts.render import Render, Resource


class Draft:
    """A deep copy of a render, whose resources may be changed before it is read again."""

    def __init__(self, render: Render) -> None:
        self._stack = render.stack
        self.resources = copy.deepcopy(list(render.resources))
        self.outputs = copy.deepcopy(render.outputs)

    def finish(self) -> Render:
        return Render(self._stack, tuple(self.resources), self.outputs)

    def find(self, type_: str, name: str | None = None) -> Resource:
        """Return the resource called `name`, or the first of its type."""
        return next(r for r in self.resources if r.type.endswith(type_) and name in (None, r.name))

    def replace(self, resource: Resource, **changes: Any) -> None:
        """Change what is no input."""
        self.resources[self.resources.index(resource)] = replace(resource, **changes)

    def drop(self, type_: str, name: str | None = None) -> None:
        """Forget a resource as if the program had never made it: nothing depends on it either."""
        gone = self.find(type_, name)
        self.resources.remove(gone)
        for resource in self.resources:
            if gone.urn in resource.dependencies:
                resource.dependencies.remove(gone.urn)
            for urns in resource.property_dependencies.values():
                if gone.urn in urns:
                    urns.remove(gone.urn)


#: Changes a draft.
Seed = Callable[[Draft], object]


@dataclass(frozen=True)
class Defect:
    """A mistake that aws.md, practices.md or the provider warns of.

    Attributes:
        caught_by: Every check that must report it; no other may.
        seed: Makes it.
        base: The configuration that it is made in.
    """

    caught_by: frozenset[str]
    seed: Seed
    base: str = "prod"


def defect(caught_by: str, *seeds: Seed, base: str = "prod") -> Defect:
    """Return a defect; `caught_by` holds the names of checks, with spaces between."""

    def seed(draft: Draft) -> None:
        for one in seeds:
            one(draft)

    return Defect(frozenset(caught_by.split()), seed, base)


def put(type_: str, name: str | None, path: str, value: Any) -> Seed:
    """Return a seed that sets the input at `path`; dots lead into blocks, numbers into lists."""

    def seed(draft: Draft) -> None:
        _put(draft.find(type_, name).inputs, path, value)

    return seed


def _put(target: Any, path: str, value: Any) -> None:
    *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in way:
        target = target[part]
    target[last] = value


def remove(type_: str, name: str | None, path: str) -> Seed:
    """Return a seed that takes the input at `path` away."""

    def seed(draft: Draft) -> None:
        target: Any = draft.find(type_, name).inputs
        *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
        for part in way:
            target = target[part]
        del target[last]

    return seed


def drop(type_: str, name: str | None = None) -> Seed:
    """Return a seed that forgets a resource."""
    return lambda draft: draft.drop(type_, name)


def option(type_: str, name: str | None, **changes: Any) -> Seed:
    """Return a seed that changes an option of a resource, such as `protect`."""
    return lambda draft: draft.replace(draft.find(type_, name), **changes)


def document(type_: str, name: str | None, key: str, edit: Callable[[Any], None]) -> Seed:
    """Return a seed that changes the JSON in an input."""

    def seed(draft: Draft) -> None:
        inputs = draft.find(type_, name).inputs
        parsed = json.loads(inputs[key])
        edit(parsed)
        inputs[key] = json.dumps(parsed)

    return seed


def container(name: str, path: str, value: Any) -> Seed:
    """Return a seed that sets something in the container of the task definition `name`."""
    return document("TaskDefinition", name, "containerDefinitions", lambda found: _put(found[0], path, value))


def without(name: str, key: str) -> Seed:
    """Return a seed that takes something away from the container of the task definition `name`."""
    return document("TaskDefinition", name, "containerDefinitions", lambda found: found[0].pop(key))


def variable(name: str, key: str, value: str) -> Seed:
    """Return a seed that sets a variable of the container of the task definition `name`."""

    def edit(found: Any) -> None:
        plain = [entry for entry in found[0]["environment"] if entry["name"] != key]
        found[0]["environment"] = [*plain, {"name": key, "value": value}]

    return document("TaskDefinition", name, "containerDefinitions", edit)


def statement(role: str, action: str, **changes: Any) -> Seed:
    """Return a seed that changes the statement of an inline policy that allows `action`."""

    def edit(found: Any) -> None:
        (one,) = (s for s in found["Statement"] if action in s["Action"])
        one.update(changes)

    return document("rolePolicy:RolePolicy", role, "policy", edit)


def grant(role: str, actions: list[str], resources: list[str]) -> Seed:
    """Return a seed that adds a statement to an inline policy."""
    added = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return document("rolePolicy:RolePolicy", role, "policy", lambda found: found["Statement"].append(added))
