"""Does on this machine what ECS does with the rendered services: runs, checks and replaces their tasks."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.demo.errors import DemoError
from scripts.demo.local import Difference, local_environment
from scripts.demo.processes import Child, Children
from scripts.render.services import EcsService

#: A service whose tasks end by themselves more often than this is broken.
REPLACEMENTS = 3


@dataclass(frozen=True)
class Task:
    """A running task of a service.

    Attributes:
        service: Whose it is.
        child: Its process.
        environment: Its variables.
    """

    service: EcsService
    child: Child
    environment: dict[str, str]

    def healthy(self) -> bool:
        """Run the container's health check."""
        # ECS writes `CMD` before the words of a command in exec form.
        _, program, *words = self.service.health_check
        path = shutil.which(program, path=self.environment.get("PATH"))
        check = subprocess.run([path or program, *words], env=self.environment, capture_output=True, check=False)
        return check.returncode == 0


class Fleet:
    """The tasks of all services.

    Attributes:
        tasks: Those that should run.
        table: What differs from the rendered environment, for tasks that are started from now on.
    """

    def __init__(
        self, children: Children, services: Sequence[EcsService], table: tuple[Difference, ...], directory: Path
    ) -> None:
        self.tasks: list[Task] = []
        self.table = table
        self._children = children
        self._services = services
        self._directory = directory
        self._started: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    def start(self) -> None:
        """Start every service's desired tasks."""
        for service in self._services:
            for _ in range(service.desired_count):
                self.start_task(service)

    def start_task(self, service: EcsService) -> Task:
        """Start one more task of a service."""
        self._started[service.name] += 1
        name = f"{service.queue or service.role}-{self._started[service.name]}"
        directory = self._directory / name
        directory.mkdir()
        environment = local_environment(self.table, service.environment, service.secrets, directory)
        log = self._directory / f"{name}.log"
        child = self._children.start(name, service.command, environment, log, service.stop_timeout)
        task = Task(service, child, environment)
        self.tasks.append(task)
        return task

    def wait_healthy(self, timeout: float) -> None:
        """Wait until every task passes its health check.

        Args:
            timeout: Seconds.

        Raises:
            DemoError: A task ended, or they do not in time.
        """
        deadline = time.monotonic() + timeout
        waiting = list(self.tasks)
        while waiting:
            for task in waiting:
                if not task.child.alive:
                    raise DemoError(f"{task.child.name} ended: {task.child.last_words()}")
            waiting = [task for task in waiting if not task.healthy()]
            if waiting and time.monotonic() > deadline:
                names = ", ".join(task.child.name for task in waiting)
                raise DemoError(f"Not healthy after {timeout:.0f} s: {names}; their logs are in {self._directory}.")
            # Each look starts a process.
            time.sleep(0.2)

    def replace_ended(self) -> list[str]:
        """Start a new task for each that has ended, as ECS does.

        Returns:
            What happened, in sentences.

        Raises:
            DemoError: A service's tasks keep ending.
        """
        events = []
        for task in [task for task in self.tasks if not task.child.alive]:
            self.tasks.remove(task)
            self._ended[task.service.name] += 1
            if self._ended[task.service.name] > REPLACEMENTS:
                raise DemoError(f"The tasks of {task.service.name} keep ending: {task.child.last_words()}")
            new = self.start_task(task.service)
            events.append(f"{task.child.name} ended with {task.child.exit_code}; {new.child.name} replaces it")
        return events

    def of_queue(self, queue: str) -> list[Task]:
        """The tasks that serve a queue."""
        return [task for task in self.tasks if task.service.queue == queue]
