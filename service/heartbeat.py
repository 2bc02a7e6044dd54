"""A sign of life that costs nothing to check: a file that the process keeps touching.

The container's health check reads the file's age. It asks no broker and wakes no other worker, and imports only the
standard library, so a check takes a few hundredths of a second. It is local on purpose: a broker that is down must
not make ECS replace every worker at once.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

#: Seconds between two touches.
PERIOD = 5.0
#: Seconds without a touch until the process counts as hung: longer than it may take to reconnect, about 110 s, after
#: which a worker ends by itself.
STALE = 150.0


def path() -> Path:
    """Where this container's process leaves its sign of life."""
    return Path(tempfile.gettempdir()) / "celery-fleet-heartbeat"


def touch() -> None:
    """Say that this process is alive."""
    path().write_text(str(os.getpid()))


def clear() -> None:
    """Forget an earlier process's sign of life: until the first touch this one is not healthy."""
    path().unlink(missing_ok=True)


def problem() -> str | None:
    """What is wrong with the process in this container, in a sentence; None if it is alive."""
    file = path()
    try:
        age = time.time() - file.stat().st_mtime
        os.kill(int(file.read_text() or 0), 0)
    except FileNotFoundError:
        return "not started yet: no sign of life"
    except (ProcessLookupError, ValueError):
        return "the process that left the last sign of life is gone"
    return f"no sign of life for {age:.0f} s" if age > STALE else None
