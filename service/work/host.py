"""What the operating system says about this process and its machine."""

from __future__ import annotations

import os
import resource
from typing import TypedDict


class Probe(TypedDict):
    """A sample of the host and of the process that took it."""

    load: float
    cpus: int
    peak_memory_mb: float
    cpu_seconds: float
    disk_free_mb: float


def probe() -> Probe:
    """Take a sample."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    disk = os.statvfs("/")
    return {
        "load": os.getloadavg()[0],
        "cpus": len(os.sched_getaffinity(0)),
        "peak_memory_mb": usage.ru_maxrss / 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "disk_free_mb": disk.f_bavail * disk.f_frsize / 2**20,
    }
