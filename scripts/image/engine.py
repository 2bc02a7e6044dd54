"""Podman with a storage and a configuration of its own: the user's images and containers are never touched."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from scripts.image.errors import ImageError

#: Debian package -> the program that it brings; scripts/setup.sh installs the same.
PROGRAMS: Final = {"podman": "podman", "runc": "runc", "catatonit": "catatonit", "debootstrap": "debootstrap"}
#: Says which process a container belongs to, so that the next one can clean up after one that was killed.
OWNER: Final = "celery-fleet.owner"
#: Open files of a container on Fargate, https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Ulimit.html.
FARGATE_OPEN_FILES: Final = 65535
#: Processes that podman itself allows.
_PROCESSES: Final = 32768


def default_directory() -> Path:
    """Where images stay between runs: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "celery-fleet" / "image"


class Engine:
    """Runs podman's commands.

    Attributes:
        directory: Its storage and configuration.
    """

    def __init__(self, directory: Path | None = None) -> None:
        """Prepare the directory and remove containers whose owners are gone.

        Args:
            directory: Where images are kept; the user's cache unless given.

        Raises:
            ImageError: This machine or user cannot run containers; says what would help.
        """
        require_programs()
        self.directory = directory or default_directory()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._configuration = self.directory / "containers.conf"
        written = configuration(*_limits())
        if not self._configuration.is_file() or self._configuration.read_text() != written:
            self._configuration.write_text(written)
        self._remove_orphans()

    def command(self, *words: str) -> list[str]:
        """Podman's command line with our storage."""
        return [
            "podman",
            *("--root", str(self.directory / "storage")),
            *("--runroot", str(self.directory / "run")),
            *("--tmpdir", str(self.directory / "tmp")),
            *("--storage-driver", "overlay"),
            *words,
        ]

    def environment(self, values: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a podman command; `values` can be handed to a container by name."""
        return {**os.environ, **(values or {}), "CONTAINERS_CONF": str(self._configuration)}

    def run(self, *words: str, values: Mapping[str, str] | None = None) -> str:
        """Run a command to its end.

        Args:
            words: The command, for example `image`, `inspect`, a name.
            values: Variables that it can hand to a container.

        Returns:
            What it printed, without white space around.

        Raises:
            ImageError: It failed; with the last of what it said.
        """
        done = self.attempt(*words, values=values)
        if done.returncode != 0:
            said = "\n".join(done.stderr.strip().splitlines()[-20:])
            raise ImageError(f"podman {words[0]} failed: {said}")
        return done.stdout.strip()

    def attempt(self, *words: str, values: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command whose failure is an answer."""
        return subprocess.run(
            self.command(*words), env=self.environment(values), capture_output=True, text=True, check=False
        )

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command without waiting for its end."""
        return subprocess.Popen(self.command(*words), env=self.environment(), stdout=subprocess.DEVNULL)

    def _remove_orphans(self) -> None:
        form = f'{{{{.ID}}}} {{{{index .Labels "{OWNER}"}}}}'
        listed = self.run("ps", "--all", "--filter", f"label={OWNER}", "--format", form)
        for line in listed.splitlines():
            container, owner = line.split()
            if not _exists(int(owner)):
                self.attempt("rm", "--force", "--volumes", "--time", "0", container)


def require_programs() -> None:
    """Check that containers can be run.

    Raises:
        ImageError: In one sentence, with what to do.
    """
    missing = sorted(package for package, program in PROGRAMS.items() if _which(program) is None)
    if missing:
        names = " ".join(missing)
        raise ImageError(f"{names} missing: install them (Debian: apt-get install {names}).")
    if os.geteuid() != 0:
        raise ImageError("Building and running the image needs root: use a root shell or a container for it.")


def configuration(open_files: int, processes: int) -> str:
    """Podman's configuration file.

    Args:
        open_files: Limit of a container.
        processes: The same.
    """
    return f"""\
[containers]
# Explicit: podman would ask for more than it may have, and fail.
default_ulimits = ["nofile={open_files}:{open_files}", "nproc={processes}:{processes}"]
log_driver = "k8s-file"
[engine]
# crun does not know the older cgroups that some kernels have; neither of the two needs systemd.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "cni"
"""


def _limits() -> tuple[int, int]:
    def at_most(wanted: int, kind: int) -> int:
        hard = resource.getrlimit(kind)[1]
        return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)

    return at_most(FARGATE_OPEN_FILES, resource.RLIMIT_NOFILE), at_most(_PROCESSES, resource.RLIMIT_NPROC)


def _which(program: str) -> str | None:
    # Administrators' programs are not in everybody's PATH, and catatonit is in none.
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/libexec/podman")


def _exists(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False
