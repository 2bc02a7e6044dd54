"""The suites of Celery and kombu: fetched from the package index, checked against their hashes, unpacked unchanged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
CACHE = REPOSITORY / ".venv" / "conformance"


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
        name: The project's.
        files: Patterns of the test files below the root of its sources.
        plugin: The module that points it at a cluster.
        arguments: What else pytest needs.
        part: What fits into the time of CI: files, classes or tests.
    """

    name: str
    files: tuple[str, ...]
    plugin: str
    arguments: tuple[str, ...]
    part: tuple[str, ...]

    def targets(self, root: Path) -> list[str]:
        """The test files of an unpacked suite, the largest first: run in parallel, it ends last anyway."""
        found = {path for pattern in self.files for path in root.glob(pattern)}
        names = [str(path.relative_to(root)) for path in sorted(found, key=lambda path: -path.stat().st_size)]
        return [name for name in names if name not in NOT_IMPORTABLE]


#: Needs the libraries of Azure to be imported, and an account there to do anything.
NOT_IMPORTABLE = {"t/integration/test_backend.py"}

SUITES = (
    Suite(
        name="celery",
        files=("t/integration/test_*.py",),
        plugin="tests.conformance.celery_on_cluster",
        arguments=("-p", "celery.contrib.pytest"),
        part=(
            "t/integration/test_inspect.py",
            "t/integration/test_redis_backend.py",
            "t/integration/test_tasks.py::test_task_redis_result_backend",
            "t/integration/test_canvas.py::test_group",
            "t/integration/test_canvas.py::test_link_error",
        ),
    ),
    Suite(
        name="kombu",
        files=("t/integration/test_redis*.py",),
        plugin="tests.conformance.kombu_on_cluster",
        arguments=(),
        part=("t/integration/test_redis.py",),
    ),
)


def fetch() -> None:
    """Download the source distributions that are not there yet, and verify their hashes.

    Raises:
        subprocess.CalledProcessError: pip could not, or a hash is wrong.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    what = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--requirement", str(HERE / "suites.txt")]
    # What is there already, pip only verifies.
    subprocess.run([*download, *what, "--dest", str(CACHE)], check=True)


def unpack(suite: Suite, directory: Path) -> Path:
    """Unpack a suite, without the library beside it: the installed one is tested.

    Args:
        suite: Which.
        directory: Where to; it is made.

    Returns:
        The root of what was unpacked.

    Raises:
        FileNotFoundError: `fetch` did not run.
    """
    archive = next(CACHE.glob(f"{suite.name}-*.tar.gz"), None)
    if archive is None:
        raise FileNotFoundError(f"no source distribution of {suite.name} in {CACHE}")
    shutil.unpack_archive(archive, directory)
    root = directory / archive.name.removesuffix(".tar.gz")
    shutil.rmtree(root / suite.name)
    return root
