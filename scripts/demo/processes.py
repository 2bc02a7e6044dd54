"""Child processes, each a session of its own, none of which outlives the demo."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from scripts.demo.errors import DemoError


class Child:
    """A process with everything it starts.

    Attributes:
        name: For people.
        pid: The process, and the id of its session and process group.
        log: Where its output goes.
        stop_timeout: Seconds from SIGTERM to SIGKILL.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, stop_timeout: float) -> None:
        self.name = name
        self.pid = process.pid
        self.log = log
        self.stop_timeout = stop_timeout
        self._process = process

    @property
    def alive(self) -> bool:
        """Whether the main process exists."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, if it did."""
        return self._process.poll()

    def members(self) -> set[int]:
        """The processes of its group that exist."""
        return members({self.pid})

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process, as ECS does."""
        if self.alive:
            self._process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def reap(self) -> None:
        """Collect the exit code of a process that was killed."""
        self._process.wait()

    def last_words(self) -> str:
        """The last line of its output."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Children:
    """Every process of the demo but the Redis servers."""

    def __init__(self) -> None:
        self.all: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        stop_timeout: float = 10.0,
    ) -> Child:
        """Start a process; call it in the main thread, whose end then ends the process too.

        Raises:
            DemoError: The program does not exist.
        """
        # Popen looks a command up in this process's PATH: a container looks in its own.
        program = shutil.which(command[0], path=environment.get("PATH"))
        if program is None:
            raise DemoError(f"{name} cannot start: there is no program {command[0]}.")
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*_die_with_parent(), program, *command[1:]],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C goes to the demo, which then stops its processes in order.
                start_new_session=True,
            )
        child = Child(name, process, log, stop_timeout)
        self.all.append(child)
        return child

    def hurry(self, seconds: float) -> None:
        """Give everybody at most this long to stop."""
        for child in self.all:
            child.stop_timeout = min(child.stop_timeout, seconds)

    def stop(self) -> list[Child]:
        """Stop all processes as ECS does: SIGTERM, and SIGKILL after their stop timeout.

        Returns:
            Those that had to be killed.
        """
        stopping = [child for child in self.all if child.alive]
        for child in stopping:
            child.send(signal.SIGTERM)
        began = time.monotonic()
        late = []
        for child in stopping:
            while child.alive and time.monotonic() < began + child.stop_timeout:
                time.sleep(0.05)
            if child.alive:
                late.append(child)
            # Also what a process that ended in time has left behind.
            child.send_group(signal.SIGKILL)
            child.reap()
        return late

    def left(self) -> set[int]:
        """Processes of any child's session that still exist, also orphaned ones."""
        return members({child.pid for child in self.all})


def members(sessions: set[int]) -> set[int]:
    """The processes that belong to these sessions; zombies do not count."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


def _die_with_parent() -> list[str]:
    # A demo that is itself killed with SIGKILL cannot stop anything: then the kernel does, in the same way.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
