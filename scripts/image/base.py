"""A base image made on this machine from Debian's packages, in place of the one from a registry."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from scripts.image.engine import Engine
from scripts.image.errors import ImageError

SUITE: Final = "bookworm"
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates", "tzdata")
#: Left out, as in Debian's slim image; and byte code, which Python's official image does not have either.
EXCLUDED: Final = (
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
    "__pycache__",
)
#: Where Python's official image has pip; the Dockerfile must get rid of it.
_OFFICIAL_PIP: Final = "usr/local/lib/python3.11/site-packages"
#: What a RUN of the build mounts a file over; were it not here, it would stay behind in the image, empty.
PIP_CONFIGURATION: Final = "/etc/pip.conf"


def base_image(engine: Engine) -> str:
    """Return the base's name; make it first if it is not in the storage (a minute or two).

    Raises:
        ImageError: It cannot be made.
    """
    name = f"localhost/python-base:{_fingerprint()}"
    with (engine.directory / "base.lock").open("w") as lock:
        # Two at once would both make it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if engine.attempt("image", "exists", name).returncode != 0:
            with tempfile.TemporaryDirectory(prefix="base-", dir=engine.directory) as directory:
                _make(engine, Path(directory), name)
    return name


def _fingerprint() -> str:
    # Whatever decides about the base stands in this file.
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def _make(engine: Engine, directory: Path, name: str) -> None:
    tree, archive = directory / "tree", directory / "base.tar"
    # mkdtemp's directory is for its owner alone; the image's root must be open to all.
    tree.mkdir(mode=0o755)
    _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree))
    _add_official_pip(tree)
    (tree / PIP_CONFIGURATION.lstrip("/")).touch()
    _run("tar", "-C", str(tree), *(f"--exclude={path}" for path in EXCLUDED), "-cf", str(archive), ".")
    engine.run("import", str(archive), name)


def _add_official_pip(tree: Path) -> None:
    (wheel,) = (tree / "usr/share/python-wheels").glob("pip-*.whl")
    packages = tree / _OFFICIAL_PIP
    packages.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    program = tree / "usr/local/bin/pip"
    program.write_text(f'#!/bin/sh\nPYTHONPATH=/{_OFFICIAL_PIP} exec python3 -m pip "$@"\n')
    program.chmod(0o755)


def _run(*command: str) -> None:
    program = shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin")
    done = subprocess.run([program or command[0], *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ImageError(
            f"The base image cannot be made: {command[0]} failed: {said[-1] if said else 'it said nothing'}"
        )
