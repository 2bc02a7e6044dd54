"""The loggers of the modules in which native threads work: the lease thread's, and the health endpoint's.

Under eventlet the locks of logging handlers are green. A native thread that met a held one would wait for ever, and
every lease of the process would end: there their lines are left for the next consumer to write.
"""

from __future__ import annotations

import logging
import posix
from collections import deque

from .native import in_native_thread, locks_are_green

#: Lines that wait to be written; more are not kept.
_left: deque[logging.LogRecord] = deque(maxlen=1000)


def logger_for(module: str) -> logging.Logger:
    """The logger of a module."""
    logger = logging.getLogger(module)
    logger.addFilter(_may_write)
    return logger


def _may_write(record: logging.LogRecord) -> bool:
    if not (locks_are_green() and in_native_thread()):
        return True
    _left.append(record)
    return False


def write_left() -> None:
    """Write what the lease thread left."""
    while _left:
        try:
            record = _left.popleft()
        except IndexError:
            return
        logging.getLogger(record.name).handle(record)


def write_left_at_once() -> None:
    """Write it to standard error without taking a lock: the process ends now, and no consumer comes any more."""
    for record in list(_left):
        for handler in logging.getLogger().handlers:
            posix.write(2, f"{handler.format(record)}\n".encode())
    _left.clear()
