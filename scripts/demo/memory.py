"""The memory that the demo takes: proportional set sizes, so that shared pages count once."""

from __future__ import annotations

import contextlib
import threading

import psutil

PERIOD = 3.0


class MemoryMeter:
    """Samples this process and all below it until told to stop.

    Attributes:
        peak: The largest sum, in bytes.
        processes: The largest number of processes.
    """

    def __init__(self) -> None:
        self.peak = 0
        self.processes = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Begin sampling."""
        self._thread.start()

    def stop(self) -> None:
        """End sampling."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD):
            own = psutil.Process()
            sizes = [size for process in (own, *own.children(recursive=True)) if (size := _size(process))]
            self.peak = max(self.peak, sum(sizes))
            self.processes = max(self.processes, len(sizes))


def _size(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0
