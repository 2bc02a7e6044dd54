"""A container, from start to removal."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from scripts.image.arguments import health_command, run_arguments
from scripts.image.engine import OWNER, Engine
from scripts.image.errors import ImageError
from scripts.render.services import EcsService

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Ended:
    """How a container ended.

    Attributes:
        exit_code: Of its first process; 137 after SIGKILL.
        seconds: From the order to stop until the end.
    """

    exit_code: int
    seconds: float


class Container:
    """A task of a service; a context manager that leaves nothing behind.

    Attributes:
        name: Podman's.
        service: Whose task it is.
        environment: Its variables.
    """

    def __init__(
        self,
        engine: Engine,
        service: EcsService,
        image: str,
        environment: Mapping[str, str],
        files: Mapping[Path, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            engine: Where the image is.
            service: What to run.
            image: In which image.
            environment: All its variables.
            files: Files of this machine -> where the container sees them, read-only.

        Raises:
            ImageError: It cannot be started, or its definition has a part that is not understood.
        """
        self.name = f"celery-fleet-{uuid.uuid4().hex[:12]}"
        self.service = service
        self.environment = dict(environment)
        self._engine = engine
        mounts = [word for source, target in (files or {}).items() for word in ("--volume", f"{source}:{target}:ro")]
        own = ("--detach", "--name", self.name, "--label", f"{OWNER}={os.getpid()}", "--http-proxy=false")
        try:
            engine.run("run", *own, *mounts, *run_arguments(service.task, image, environment), values=environment)
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it."""
        self.remove()

    @property
    def state(self) -> dict[str, Any]:
        """What podman knows about it: `Status`, `StartedAt`, `ExitCode`, …."""
        (found,) = json.loads(self._engine.run("container", "inspect", self.name))
        return dict(found["State"])

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        # Podman's own `Running` is already false while a container is told to stop.
        return self.state["Status"] not in {"stopped", "exited"}

    def age(self) -> float:
        """Seconds since its first process started."""
        began = self._engine.run("container", "inspect", "--format", "{{.State.StartedAt.UnixNano}}", self.name)
        return time.time() - int(began) / 1e9

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its user."""
        return self._engine.attempt("exec", self.name, *words)

    def read(self, path: str) -> str | None:
        """The content of a file in it; None if there is none."""
        done = self.execute("cat", path)
        return done.stdout if done.returncode == 0 else None

    def cpu_seconds(self) -> float:
        """The processor time that it has used: unlike the clock, it does not depend on what else the machine does.

        Raises:
            ImageError: The kernel does not count it.
        """
        if (old := self.read("/sys/fs/cgroup/cpuacct/cpuacct.usage")) is not None:
            return int(old) / 1e9
        if (new := self.read("/sys/fs/cgroup/cpu.stat")) is not None:
            return int(dict(line.split() for line in new.splitlines())["usage_usec"]) / 1e6
        raise ImageError("this kernel counts no processor time by control group")

    def healthy(self) -> bool:
        """Run the health check of its definition."""
        (definition,) = self.service.task["containerDefinitions"]
        return self.execute(*health_command(definition)).returncode == 0

    def log(self) -> str:
        """What it printed, both streams."""
        done = self._engine.attempt("logs", self.name)
        return done.stdout + done.stderr

    def changes(self) -> list[str]:
        """Paths of its root file system that are not as in the image, such as `A /etc/new`."""
        # Podman touches the directory of its hosts and resolv.conf; a new file there would be a line of its own.
        return [line for line in self._engine.run("diff", self.name).splitlines() if line != "C /etc"]

    def stop(self) -> Stopping:
        """Send SIGTERM now, and SIGKILL after the stop timeout of its definition, as ECS does."""
        words = ["stop", "--time", str(self.service.stop_timeout), self.name]
        return Stopping(self, self._engine.start(words), time.monotonic())

    def wait_until(self, true: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait for an event.

        Args:
            true: Asked until it says yes.
            what: The event.
            timeout: Seconds.

        Raises:
            ImageError: The container ended, or it did not happen in time; with the container's last words.
        """
        deadline = time.monotonic() + timeout
        while not true():
            late = time.monotonic() > deadline
            if late or not self.running:
                reason = f"within {timeout:g} s" if late else "before it ended"
                raise ImageError(f"{self.service.name}: {what} did not happen {reason}.\n{self.log()[-4000:]}")
            time.sleep(POLL_SECONDS)

    def wait_ready(self, port: int, timeout: float) -> float:
        """Wait until a worker takes tasks.

        Args:
            port: Of its health endpoint.
            timeout: Seconds.

        Returns:
            Seconds since the container's start.

        Raises:
            ImageError: As `wait_until`.
        """
        self.wait_until(lambda: page_status(port, "/health/ready") == HTTPStatus.OK, "its readiness", timeout)
        return self.age()

    def remove(self) -> None:
        """End it at once and remove it with its volumes."""
        self._engine.attempt("rm", "--force", "--volumes", "--ignore", "--time", "0", self.name)


def page_status(port: int, page: str) -> int:
    """Ask a health endpoint; the status of its answer, 0 without one."""
    try:
        return requests.get(f"http://127.0.0.1:{port}{page}", timeout=5).status_code
    except requests.RequestException:
        return 0


class Stopping:
    """A container that was told to end."""

    def __init__(self, container: Container, command: subprocess.Popen[bytes], began: float) -> None:
        self._container = container
        self._command = command
        self._began = began

    def wait(self) -> Ended:
        """Wait for its end."""
        self._command.wait()
        return Ended(int(self._container.state["ExitCode"]), time.monotonic() - self._began)
