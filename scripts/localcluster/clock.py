"""A clock of a node's own that can be moved, by libfaketime."""

from __future__ import annotations

from pathlib import Path

from scripts.localcluster.errors import LocalClusterError


def find_library() -> Path:
    """Find libfaketime.

    Raises:
        LocalClusterError: It is not installed.
    """
    found = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
    if not found:
        raise LocalClusterError("libfaketime is not installed: install it (Debian: apt-get install faketime).")
    return found[0]


class Clock:
    """The distance of a node's clock from the machine's, in a file that the node reads again every second."""

    def __init__(self, directory: Path) -> None:
        """Like the machine's at first.

        Raises:
            LocalClusterError: libfaketime is not installed.
        """
        self._library = find_library()
        self._file = directory / "clock"
        self.set(0)

    def set(self, seconds: float) -> None:
        """Choose how far it is ahead."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+g}\n")
        # Never half written: it would be read as no distance.
        written.replace(self._file)

    def environment(self) -> dict[str, str]:
        """What the node must be started with."""
        return {
            # The C library's malloc before jemalloc's, which asks for the time while libfaketime allocates.
            "LD_PRELOAD": f"{self._library}:libc.so.6",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    @staticmethod
    def forget(pid: int) -> None:
        """Remove what libfaketime leaves in shared memory when a node is killed."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            Path("/dev/shm", name).unlink(missing_ok=True)  # noqa: S108  where Linux keeps shared memory
