"""Checks of a rendered stack, one file per concern; each is a pure function from a render to problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from scripts.checks import (
    alarms,
    api,
    data,
    ecs,
    elasticache,
    iam,
    image,
    names,
    network,
    program,
    provider,
    scaling,
    secrecy,
)
from scripts.checks.problem import Check, Checks, Problem
from scripts.render import Render

__all__ = ["CHECKS", "Check", "Checks", "Problem", "run"]

#: Every check of one render, by name.
CHECKS: Final[Checks] = {
    **provider.CHECKS,
    **api.CHECKS,
    **iam.CHECKS,
    **ecs.CHECKS,
    **elasticache.CHECKS,
    **scaling.CHECKS,
    **alarms.CHECKS,
    **network.CHECKS,
    **data.CHECKS,
    **secrecy.CHECKS,
    **names.CHECKS,
    **image.CHECKS,
    **program.CHECKS,
}


def run(render: Render) -> Iterator[tuple[str, Problem]]:
    """Yield every problem of `render` with the name of the check that found it."""
    for name, check in CHECKS.items():
        for problem in check(render):
            yield name, problem
