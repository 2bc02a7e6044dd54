"""What a connection calls itself: CLIENT LIST then tells which worker it belongs to, and what it is for."""

from __future__ import annotations

import os
import re
import socket
from typing import Literal

from celery import signals

#: What a connection is for: requests of consumers and producers; of the lease thread; waiting for a message; reading
#: broadcasts; requests for results; waiting for results; reading statistics.
Purpose = Literal["commands", "renew", "wake", "fanout", "results", "subscribe", "inspect"]

_worker: str | None = None


@signals.celeryd_init.connect
def _worker_named(sender: str | None = None, **_: object) -> None:
    """A Celery worker starts in this process, under the node name `sender`."""
    global _worker
    _worker = sender


def process_name() -> str:
    """Celery's node name in a worker, the host name in other processes; all of it printable ASCII without spaces."""
    # All that Redis accepts in a name.
    return re.sub(r"[^!-~]", "-", _worker or socket.gethostname())


def client_name(purpose: Purpose, prefix: str | None = None) -> str:
    """The name of a connection that is made now.

    Args:
        purpose: What it is for.
        prefix: The option `client_name`.

    Returns:
        `[prefix:]worker:pid:purpose`, where the worker is what `process_name` says.
    """
    parts = [re.sub(r"[^!-~]", "-", prefix)] if prefix else []
    return ":".join([*parts, process_name(), str(os.getpid()), purpose])
