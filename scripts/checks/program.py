"""The program itself: components, dependencies, values that got lost, and what a preview shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from pulumi.runtime import rpc

from scripts.checks.problem import Checks, Problem, at
from scripts.render import Render

#: What an output that is None or printed as text leaves behind.
_LOST: Final = ("None", "Calling __str__ on an Output", "<pulumi.output.Output")


def _values(render: Render) -> Iterator[Problem]:
    """An output that nobody answers becomes None, and what was built from it vanishes or says so."""
    for resource in render.resources:
        text = json.dumps(resource.inputs)
        if rpc.UNKNOWN in text:
            yield at(resource, "", "an input is unknown after everything was created")
        if "null" in text:
            yield at(resource, "", "an input is null")
        for lost in _LOST:
            if lost in text:
                yield at(resource, "", f"an output was lost on the way: {lost!r} in an input")


def _components(render: Render) -> Iterator[Problem]:
    """Everything belongs to a component of this project."""
    components = {resource.urn for resource in render.resources if resource.component}
    for resource in render.resources:
        if resource.component and not resource.type.startswith("celery-fleet:index:"):
            yield at(resource, "", "is no component of this project")
        if not resource.component and resource.parent not in components:
            yield at(resource, "", "belongs to no component")


def _dependencies(render: Render) -> Iterator[Problem]:
    """What is waited for exists, and nothing waits for itself."""
    below = {resource.urn: set(resource.dependencies) for resource in render.resources}
    if len(below) != len(render.resources):
        yield Problem("program", "two resources have one URN")
    for resource in render.resources:
        for urn in resource.dependencies:
            if urn not in below:
                yield at(resource, "", f"waits for {urn}, which is not there")
    done: set[str] = set(below) ^ set(below)
    while waiting := [urn for urn in below if urn not in done]:
        ready = [urn for urn in waiting if not (below[urn] & set(below)) - done]
        if not ready:
            yield Problem("program", f"wait for each other: {', '.join(sorted(waiting)[:5])}")
            return
        done.update(ready)


def preview_differs(preview: Render, update: Render) -> Iterator[Problem]:
    """Say where a first preview shows something else than what the update does.

    Args:
        preview: Rendered as a preview.
        update: The same configuration, rendered as an update.
    """
    shown = {resource.urn: resource for resource in preview.resources}
    done = {resource.urn: resource for resource in update.resources}
    for urn in sorted(set(shown) ^ set(done)):
        resource = shown.get(urn) or done[urn]
        yield at(resource, "", "only the preview has it" if urn in shown else "the preview does not show it")
    for urn in sorted(set(shown) & set(done)):
        for path in _different(shown[urn].inputs, done[urn].inputs, ""):
            yield at(done[urn], path, "the preview shows another value")
        for option in ("protect", "ignore_changes", "parent"):
            if getattr(shown[urn], option) != getattr(done[urn], option):
                yield at(done[urn], option, "the preview shows another one")


def _different(shown: Any, done: Any, path: str) -> Iterator[str]:
    if isinstance(shown, str) and rpc.UNKNOWN in shown:
        return
    if isinstance(shown, dict) and isinstance(done, dict):
        for key in sorted(set(shown) | set(done)):
            yield from _different(shown.get(key), done.get(key), f"{path}.{key}" if path else key)
    elif isinstance(shown, list) and isinstance(done, list) and len(shown) == len(done):
        for index, (one, two) in enumerate(zip(shown, done, strict=True)):
            yield from _different(one, two, f"{path}[{index}]")
    elif shown != done:
        yield path


CHECKS: Final[Checks] = {
    "program.values": _values,
    "program.components": _components,
    "program.dependencies": _dependencies,
}
