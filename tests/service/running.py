from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from pydantic import SecretStr

from scripts.localcluster import LocalCluster
from service.app import create_app
from service.settings import Settings

HEALTHY_SECONDS = 30.0


def environment(cluster: LocalCluster, directory: Path, **variables: str) -> dict[str, str]:
    """The variables of a container that talks to the cluster, with a /tmp of its own."""
    return {
        **os.environ,
        "TMPDIR": str(directory),
        "FLEET_REDIS_HOST": "127.0.0.1",
        "FLEET_REDIS_PORT": str(cluster.primaries[0].port),
        "FLEET_REDIS_USERNAME": cluster.username,
        "FLEET_REDIS_PASSWORD": cluster.password,
        "FLEET_LOG_LEVEL": "INFO",
        **variables,
    }


def client(cluster: LocalCluster) -> Celery:
    return create_app(
        Settings(
            redis_host="127.0.0.1",
            redis_port=cluster.primaries[0].port,
            redis_username=cluster.username,
            redis_password=SecretStr(cluster.password),
        )
    )


@dataclass(frozen=True)
class Container:
    process: subprocess.Popen[bytes]
    log: Path
    variables: dict[str, str]

    def healthy(self) -> bool:
        command = [sys.executable, "-m", "service", "healthcheck"]
        return subprocess.run(command, env=self.variables, capture_output=True, check=False).returncode == 0

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while not self.healthy():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()

    def stop(self, timeout: float) -> int:
        """Send SIGTERM and wait; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout)


@contextmanager
def container(command: str, variables: dict[str, str], directory: Path) -> Iterator[Container]:
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", command],
            env=variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    started = Container(process, log, variables)
    try:
        yield started
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


def wait_for_file(path: Path, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
