"""Celery workers as processes, tasks for them, and what they say."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bench.app import INBOX, ROLE, SETTINGS, TICK, make_app, settings
from bench.errors import BenchError
from bench.sides import Side
from scripts.localcluster.node import die_with_parent

#: Seconds within which a worker must have said something.
PATIENCE = 90.0


class Inbox:
    """What tasks tell: a socket in a directory of its own."""

    def __init__(self) -> None:
        """Listen."""
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self.path = Path(self._directory.name) / "inbox"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))

    def __enter__(self) -> Self:
        """Listen already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._socket.close()
        self._directory.cleanup()

    def read(self, timeout: float = PATIENCE) -> tuple[float, str]:
        """The next message: its moment on the monotonic clock and its text.

        Raises:
            BenchError: Nothing came within `timeout` seconds.
        """
        self._socket.settimeout(timeout)
        try:
            moment, _, text = self._socket.recv(1024).decode().partition(" ")
        except TimeoutError:
            raise BenchError(f"no task ran within {timeout:g} s") from None
        return float(moment), text


@contextmanager
def worker(
    side: Side, inbox: Inbox, *, queues: Sequence[str] = (), processes: int = 2, role: str = ""
) -> Iterator[int]:
    """A prefork worker, killed at the end; yields the id of its process group.

    Args:
        side: Its broker and result backend.
        inbox: Who hears of its tasks.
        queues: What it consumes; the side's queue unless named.
        processes: Of its pool.
        role: See `bench.app`.
    """
    configuration = settings(side.url, side.backend, side.options, side.backend_options)
    environment = os.environ | {SETTINGS: json.dumps(configuration), INBOX: str(inbox.path), ROLE: role}
    names = ",".join(queues or [side.queue])
    command = [sys.executable, "-m", "celery", "-A", "bench.app", "worker", "-P", "prefork", "-l", "ERROR"]
    log = inbox.path.parent / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*die_with_parent(), *command, "-c", str(processes), "-Q", names, "-n", f"{role or 'bench'}-{names}@%h"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process.pid
    except BenchError as error:
        raise BenchError(f"{error}\n{log.read_text()[-2000:]}") from error
    finally:
        kill(process.pid)
        process.wait()


def kill(group: int) -> None:
    """End a worker with its pool at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class Publisher:
    """Publishes tasks to a side, without a result backend of its own."""

    def __init__(self, side: Side) -> None:
        """Connects with the first task."""
        self._queue = side.queue
        self._app: Any = make_app(settings(side.url, None, side.options, {}))

    def __enter__(self) -> Self:
        """Connects later."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._app.close()

    def send(self, mark: str = "", *, results: bool = False, name: str = TICK, queue: str | None = None) -> None:
        """Publish one task; with `results` its worker stores the result."""
        self._app.send_task(name, (mark,), queue=queue or self._queue, ignore_result=not results)

    def fill(self, number: int, *, every: int, results: bool = False) -> None:
        """Publish `number` tasks, every so manieth marked."""
        for index in range(1, number + 1):
            self.send("" if index % every else "tick", results=results)
