"""What a check says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from scripts.render import Render, Resource


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a render.

    Attributes:
        where: Type and name of the resource, and the path of the input: `ecs/service:Service celery: desiredCount`.
        text: What is wrong, and what would be right.
    """

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


Check: TypeAlias = Callable[[Render], Iterable[Problem]]
#: Name -> check, e.g. `ecs.sizes`; the part before the dot is the file.
Checks: TypeAlias = Mapping[str, Check]


def at(resource: Resource, path: str, text: str) -> Problem:
    """Return a problem of an input of `resource`; an empty path means the resource itself."""
    where = f"{resource.type.partition(':')[2]} {resource.name}"
    return Problem(f"{where}: {path}" if path else where, text)
