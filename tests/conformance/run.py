"""Tests of a suite: on a server of their own, by pytest in a process of its own, and what came of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from scripts.localcluster import LocalCluster
from scripts.localcluster.config import ADMIN
from scripts.localcluster.ports import HOST
from scripts.localcluster.single import single_redis
from service.fleet import REDIS_ACCESS_STRING
from tests.conformance.suites import HERE, REPOSITORY, Suite

#: Seconds after which a test that hangs is failed; the suites' own limits come first.
TEST_TIMEOUT = 600
#: A failed test is tried once more and reported as repeated: some of Celery's race, on stock Redis too.
RETRIES = 1
#: Exit codes of pytest after it ran what there was: all passed, some failed, all deselected.
ENDED = (0, 1, 5)


@dataclass
class Outcome:
    """What became of tests of a suite.

    Attributes:
        outcomes: passed, failed, skipped, xfailed or deselected, by node id.
        reasons: Of skips and deselections.
        reruns: What each failed attempt said before a test was repeated.
        seconds: How long each test took.
        broken_off: What pytest was told to run and did not finish.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    reruns: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    broken_off: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count other tests in."""
        self.outcomes |= other.outcomes
        self.reasons |= other.reasons
        self.reruns |= other.reruns
        self.seconds |= other.seconds
        self.broken_off += other.broken_off

    def having(self, outcome: str) -> list[str]:
        """The tests with an outcome."""
        return sorted(name for name, found in self.outcomes.items() if found == outcome)

    @property
    def good(self) -> bool:
        """Whether every test that is not on the list came to its end and passed."""
        return not self.broken_off and not self.having("failed")


def run_on_cluster(suite: Suite, root: Path, target: str) -> Outcome:
    """Run tests on a cluster of their own, whose user has the permissions of the stack's workers.

    Args:
        suite: Whose.
        root: Where it was unpacked.
        target: A file, class or test.
    """
    with LocalCluster(access_string=REDIS_ACCESS_STRING) as cluster:
        node = cluster.nodes[0]
        variables = {
            "CONFORMANCE_SUITE": suite.name,
            "CONFORMANCE_BROKER_URL": cluster.url,
            "CONFORMANCE_ADMIN_URL": f"redis://{ADMIN}:{quote(cluster.settings.admin_password)}@{HOST}:{node.port}",
            "TEST_BROKER": cluster.url,
            "TEST_BACKEND": cluster.url,
            "REDIS_HOST": HOST,
            "REDIS_6379_TCP": str(node.port),
            "PYTHONPATH": os.pathsep.join([str(HERE / "registration"), str(REPOSITORY)]),
        }
        return _run([*suite.arguments, "-p", suite.plugin, target], root, variables)


def run_on_stock(suite: Suite, root: Path, target: str) -> Outcome:
    """Run tests as they are, all of them, on a single Redis of their own."""
    with single_redis() as address:
        host, _, port = address.partition(":")
        variables = {
            "TEST_BROKER": f"redis://{address}/0",
            "TEST_BACKEND": f"redis://{address}/0",
            "REDIS_HOST": host,
            "REDIS_PORT": port,
            "REDIS_6379_TCP": port,
            "PYTHONPATH": str(REPOSITORY),
        }
        return _run([*suite.arguments, target], root, variables)


def _run(arguments: Sequence[str], root: Path, variables: dict[str, str]) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        written = Path(directory) / "outcomes.json"
        environment = (
            os.environ
            | variables
            | {
                "CONFORMANCE_OUTCOMES": str(written),
                # The suites start `celery` by name.
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                # Two tests read in the log what a worker says at this level only.
                "WORKER_LOGLEVEL": "INFO",
            }
        )
        limits = [f"--timeout={TEST_TIMEOUT}", f"--reruns={RETRIES}"]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conformance.plugin", *limits]
        # A file and not a pipe: a worker that a test left behind would keep a pipe open.
        log = Path(directory) / "output.txt"
        with log.open("wb") as output, _alone([*command, *arguments], root, environment, output) as process:
            status = process.wait()
        print(log.read_text(errors="replace"), flush=True)
        outcome = Outcome(**json.loads(written.read_text())) if written.exists() else Outcome()
        if status not in ENDED:
            outcome.broken_off.append(arguments[-1])
        return outcome


@contextmanager
def _alone(
    command: list[str], directory: Path, environment: dict[str, str], output: BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which ends with it: a test may have left a worker behind."""
    process = subprocess.Popen(
        command, cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
