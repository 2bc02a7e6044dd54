"""Polling with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.localcluster.errors import LocalClusterError, NodeError

POLL_SECONDS = 0.02


def wait_for(problem: Callable[[], str | None], timeout: float, what: str) -> None:
    """Ask `problem` until it has nothing to say.

    Args:
        problem: Returns what is still missing, or None when there is nothing left to wait for;
            a NodeError counts as a problem.
        timeout: Seconds to wait.
        what: The sentence's beginning if that takes too long, for example "The cluster did not form".

    Raises:
        LocalClusterError: The timeout passed; the message ends with the last problem.
    """
    deadline = time.monotonic() + timeout
    while (last := _ask(problem)) is not None:
        if time.monotonic() >= deadline:
            raise LocalClusterError(f"{what} within {timeout:g} s: {last}.")
        time.sleep(POLL_SECONDS)


def _ask(problem: Callable[[], str | None]) -> str | None:
    try:
        return problem()
    except NodeError as error:
        return str(error).rstrip(".")
