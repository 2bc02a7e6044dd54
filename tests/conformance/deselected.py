"""The list of tests that cannot hold on a cluster, each with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent / "deselected.toml"


@dataclass(frozen=True)
class Deselected:
    """Tests with one reason.

    Attributes:
        reason: Why they are not run.
        tests: Node ids, of single tests or of all tests of a function, class or file.
    """

    reason: str
    tests: tuple[str, ...]

    def names(self, node_id: str) -> bool:
        """Whether a test is meant."""
        return any(node_id == name or node_id.startswith((f"{name}[", f"{name}::")) for name in self.tests)


def deselected(suite: str) -> list[Deselected]:
    """Read the list of a suite."""
    groups = tomllib.loads(FILE.read_text()).get(suite, [])
    return [Deselected(group["reason"], tuple(group["tests"])) for group in groups]


def stale(suite: str, node_ids: Collection[str]) -> list[str]:
    """Say which entries name no test of a whole suite."""
    return [
        f"deselected.toml names {name}, which is not there"
        for group in deselected(suite)
        for name in group.tests
        if not any(Deselected(group.reason, (name,)).names(node_id) for node_id in node_ids)
    ]
