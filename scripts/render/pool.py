"""Renders many configurations, each in a process of its own that has everything imported already."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Final

import pulumi

from scripts.render.project import ProjectError
from scripts.render.render import Render, RenderError, parse
from scripts.render.run import run

#: Imports the program and renders once: what is imported then, every further process inherits.
_WARM: Final = "scripts.render.warm"


class RenderPool:
    """Renders in the background until it is closed.

    A render runs in a fork of a process that has rendered before, so that it neither pays for the imports (most of
    the time of a single render) nor meets what another render left behind.
    """

    def __init__(self, processes: int = 2) -> None:
        """Start no process yet."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_WARM])
        self._executor = ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1)

    def submit(
        self, stack: str, overrides: Mapping[str, Any] | None = None, *, preview: bool = False
    ) -> Future[Render]:
        """Queue a render; arguments and errors are those of `scripts.render.render`."""
        return self._executor.submit(_render, stack, overrides, preview)

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        self._executor.shutdown(cancel_futures=True)


def _render(stack: str, overrides: Mapping[str, Any] | None, preview: bool) -> Render:
    try:
        return parse(run(stack, overrides, preview))
    except (ProjectError, pulumi.RunError) as error:
        raise RenderError(str(error)) from error
