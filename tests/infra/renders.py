"""Each configuration is rendered once per test run, whichever of pytest's processes asks for it first."""

from __future__ import annotations

import fcntl
import hashlib
import json
import pickle
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts.render import Render
from scripts.render.pool import RenderPool
from tests.infra.configurations import CONFIGURATIONS

#: Renders at a time; the machines that run the tests have few cores, and other tests to run on them.
PROCESSES = 2


class Renders:
    """Renders in the background and remembers them, in memory and in a folder that the processes share."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._pool = RenderPool(PROCESSES)
        self._threads = ThreadPoolExecutor(PROCESSES)
        self._begun: dict[str, Future[Render]] = {}

    def close(self) -> None:
        """End what runs."""
        self._threads.shutdown(cancel_futures=True)
        self._pool.close()

    def begin(self, stack: str, overrides: Mapping[str, Any] | None = None, preview: bool = False) -> Future[Render]:
        """Render, unless it is rendered or under way."""
        key = json.dumps([stack, overrides, preview], sort_keys=True)
        if key not in self._begun:
            self._begun[key] = self._threads.submit(self._shared, key, stack, overrides, preview)
        return self._begun[key]

    def of(self, stack: str, overrides: Mapping[str, Any] | None = None) -> Render:
        """Return the render of a stack with its configuration changed."""
        return self.begin(stack, overrides).result()

    def named(self, name: str, preview: bool = False) -> Render:
        """Return the render of one of `CONFIGURATIONS`."""
        return self.begin(*CONFIGURATIONS[name], preview=preview).result()

    def _shared(self, key: str, stack: str, overrides: Mapping[str, Any] | None, preview: bool) -> Render:
        path = self._folder / hashlib.sha256(key.encode()).hexdigest()[:16]
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                made = self._pool.submit(stack, overrides, preview=preview).result()
                path.write_bytes(pickle.dumps(made))
            found: Render = pickle.loads(path.read_bytes())
            return found
