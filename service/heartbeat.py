"""A container's sign of life: a file that says how its process can be asked, for a check that costs milliseconds.

A worker leaves the port of its health endpoint and is asked there; the monitor keeps touching the file and its age is
the answer. Asking needs no broker and wakes no other worker, and imports almost nothing: most of what a check costs
is the start of the interpreter. It is local on purpose: a broker that is down must not make ECS replace every worker at
once.
"""

from __future__ import annotations

import os
import time

#: Seconds without a touch until a process without an endpoint counts as hung.
STALE = 150.0
#: Seconds to wait for the endpoint's answer.
ANSWER = 5.0


def path() -> str:
    """Where this container's process leaves its sign of life."""
    # Not tempfile: its imports take longer than the check.
    return os.path.join(os.environ.get("TMPDIR", "/tmp"), "celery-fleet-heartbeat")  # noqa: PTH118, S108


def touch(port: int | None = None) -> None:
    """Say that this process is alive, and on which port of 127.0.0.1 it can be asked how it is."""
    # Beside it first: a check in between would read a file without a word.
    new = f"{path()}.new"
    with open(new, "w") as file:  # noqa: PTH123  pathlib's import takes longer than the check
        file.write(f"{os.getpid()} {port or ''}")
    os.replace(new, path())  # noqa: PTH105


def clear() -> None:
    """Forget an earlier process's sign of life: until the first touch this one is not healthy."""
    try:
        os.unlink(path())  # noqa: PTH108
    except FileNotFoundError:
        pass


def problem() -> str | None:
    """What is wrong with the process in this container, in a sentence; None if it is alive."""
    try:
        with open(path()) as file:  # noqa: PTH123
            process, _, port = file.read().partition(" ")
            age = time.time() - os.fstat(file.fileno()).st_mtime
        os.kill(int(process), 0)
    except FileNotFoundError:
        return "not started yet: no sign of life"
    except (ProcessLookupError, ValueError):
        return "the process that left the last sign of life is gone"
    if port:
        return ask(int(port))
    return f"no sign of life for {age:.0f} s" if age > STALE else None


def ask(port: int) -> str | None:
    """Ask the endpoint of a worker; its complaint, or None if it has none."""
    # What stands behind `socket`, whose imports would be a quarter of the check.
    import _socket

    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        connection.settimeout(ANSWER)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    except OSError as error:
        return f"the health endpoint does not answer: {error}"
    finally:
        connection.close()
    return None if b" 200 " in head.split(b"\r\n")[0] else body.decode().strip() or "the health endpoint did not say"
