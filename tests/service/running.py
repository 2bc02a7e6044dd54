from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from celery import Celery
from pydantic import SecretStr

from scripts.localcluster import LocalCluster
from service.app import create_app
from service.settings import Settings

HEALTHY_SECONDS = 120.0


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

    @property
    def port(self) -> int:
        """Of the worker's endpoint."""
        return int(Path(self.variables["TMPDIR"], "celery-fleet-heartbeat").read_text().split()[1])

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the worker's endpoint, which sends away whom a busy machine makes slow."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while True:
            try:
                answer = requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=30)
            except requests.ConnectionError:
                assert self.process.poll() is None, f"it ended ({self.process.returncode})\n{self.log.read_text()}"
                assert time.monotonic() < deadline, "the endpoint takes no connection"
                time.sleep(0.1)
            else:
                return answer.status_code, answer.text

    def wait_for_answer(self, path: str, status: int, said: str = "", within: float = HEALTHY_SECONDS) -> str:
        """Ask until a page has this status and says this; its body."""
        deadline = time.monotonic() + within
        while True:
            answer = self.ask(path)
            if answer[0] == status and said in answer[1]:
                return answer[1]
            assert time.monotonic() < deadline, f"{path} says {answer}, not {status} {said!r}\n{self.log.read_text()}"
            time.sleep(0.1)

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while not self.healthy():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            # Each look starts a process.
            time.sleep(0.2)

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        os.killpg(self.process.pid, 9)
        self.process.wait()

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
            started.kill()


def wait_for_file(path: Path, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
