"""Runs a stack's real program without Pulumi's engine; once per process, since modules stay imported."""

from __future__ import annotations

import asyncio
import gc
import logging
import runpy
from collections.abc import Mapping
from typing import Any

from pulumi.runtime import config as pulumi_config
from pulumi.runtime import mocks, settings
from pulumi.runtime.stack import run_in_stack

from scripts.render.monitor import RecordingMonitor
from scripts.render.project import ROOT, project, stack_config


def run(stack: str, overrides: Mapping[str, Any] | None = None, preview: bool = False) -> dict[str, Any]:
    """Run the program and return the render as a document; see `scripts.render.Render`.

    Args:
        stack: The stack's name.
        overrides: Laid over the stack file's `celery-fleet:fleet`.
        preview: As the first `pulumi preview` runs it: nothing exists, and what AWS decides is unknown.

    Raises:
        UnknownStackError: If the stack has no file.
        pulumi.RunError: If the configuration is wrong.
    """
    values, secret = stack_config(stack, overrides)
    # The SDK reports a failed program through this logger, too; the exception says the same.
    logging.getLogger("pulumi").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    monitor = RecordingMonitor(preview)
    settings.configure(
        mocks.MockSettings(
            monitor=monitor,
            monitor_features=monitor.features(),
            engine=mocks.MockEngine(logging.getLogger("pulumi")),
            project=project()["name"],
            stack=stack,
            organization="organization",
            dry_run=preview,
            callbacks=None,
        )
    )
    pulumi_config.set_all_config(values, secret)
    # The SDK makes some hundred thousand small objects that all live until the end; looking for garbage among them
    # would double the time.
    gc.disable()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(run_in_stack(_program))
    finally:
        loop.close()
        gc.enable()
    recording = monitor.recording
    return {
        "stack": stack,
        "resources": sorted(recording.resources, key=lambda resource: str(resource["urn"])),
        "outputs": recording.outputs,
    }


async def _program() -> None:
    # As Pulumi's language host does it: the directory with __main__.py is the program.
    runpy.run_path(str(ROOT), run_name="__main__")
    # The SDK waits for the first of all outputs, then again for the first of the rest, and so on: half of all calls of
    # a render. What fails is left to it.
    failed = False
    while not failed and (pending := set(settings.SETTINGS.outputs)):
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        failed = any(task.cancelled() or task.exception() for task in done)
