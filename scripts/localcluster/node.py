"""One redis-server process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.localcluster.clock import Clock
from scripts.localcluster.config import ADMIN, Settings, write_config
from scripts.localcluster.errors import LocalClusterError, NodeError
from scripts.localcluster.ports import HOST
from scripts.localcluster.waiting import wait_for

#: For a machine that has much else to do: nobody asks a node that is frozen or dead.
ADMIN_TIMEOUT_SECONDS = 30.0
#: Seconds between the question for the time and its answer, on a busy machine.
CLOCK_TOLERANCE = 1.0


def find_server() -> str:
    """Find the redis-server program.

    Raises:
        LocalClusterError: It is not installed.
    """
    server = shutil.which("redis-server")
    if server is None:
        raise LocalClusterError("redis-server is not installed: install it (Debian: apt-get install redis-server).")
    return server


class Node:
    """A node of the cluster: its process and an administrator's connection to it.

    Attributes:
        port: Its port on 127.0.0.1.
        directory: Its configuration, data and log.
        admin: A client that may do everything and answers with str; commands fail after 30 s without an answer.
    """

    def __init__(self, port: int, directory: Path, settings: Settings) -> None:
        """Write the node's files; nothing runs yet.

        Args:
            port: A free port whose bus port is free too.
            directory: A directory that does not exist yet.
            settings: What the nodes of the cluster share.

        Raises:
            LocalClusterError: The directory exists, or there is no libfaketime for a movable clock.
        """
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            raise LocalClusterError(f"{directory} holds an earlier cluster: delete it or choose another one.") from None
        self.port = port
        self.directory = directory
        self.admin = _admin_client(port, settings)
        self._config = write_config(directory, port, settings)
        self._clock = Clock(directory) if settings.movable_clocks else None
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self._id: str | None = None

    def __repr__(self) -> str:
        """Name the node by its port."""
        return f"<Node {self.port}>"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server process, also when it has ended.

        Raises:
            LocalClusterError: The node was never launched.
        """
        if self._process is None:
            raise LocalClusterError(f"Node {self.port} was never launched.")
        return self._process

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "redis.log"

    @property
    def alive(self) -> bool:
        """Whether the process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def responsive(self) -> bool:
        """Whether the process exists and is not frozen."""
        return self.alive and not self._frozen

    @property
    def id(self) -> str:
        """The node's id in the cluster."""
        if self._id is None:
            self._id = str(self.command("CLUSTER", "MYID"))
        return self._id

    @property
    def role(self) -> Literal["primary", "replica"]:
        """What the node itself believes to be."""
        return "primary" if self.command("ROLE")[0] == "master" else "replica"

    def command(self, *words: str | int) -> Any:
        """Send a command as the administrator.

        Returns:
            What redis-py makes of the answer.

        Raises:
            NodeError: The node refused it or did not answer within 30 s.
        """
        try:
            return self.admin.execute_command(*words)
        except redis.RedisError as error:
            raise NodeError(f"Port {self.port} did not accept {words[0]}: {error}.") from error

    def launch(self) -> None:
        """Start the process and return at once.

        Raises:
            LocalClusterError: It runs already, or there is no redis-server.
        """
        if self.alive:
            raise LocalClusterError(f"Node {self.port} runs already.")
        server = find_server()
        self._frozen = False
        with (self.directory / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*die_with_parent(), server, str(self._config)],
                env=os.environ | (self._clock.environment() if self._clock else {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C goes to this program, which then stops the servers.
                start_new_session=True,
            )

    def problem(self) -> str | None:
        """Ask whether the node answers; None means yes.

        Raises:
            NodeError: It does not answer yet.
            LocalClusterError: The process has ended.
        """
        if not self.alive:
            raise LocalClusterError(
                f"redis-server on port {self.port} ended with status {self.process.returncode}: see {self.directory}."
            )
        self.command("PING")
        return None

    def freeze(self) -> None:
        """Stop the process without ending it; its sockets stay open."""
        self._frozen = True
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self.process.send_signal(signal.SIGCONT)
        self._frozen = False

    def move_clock(self, seconds: float, timeout: float = 10.0) -> None:
        """Set the node's clock so far ahead of the machine's and wait until the node goes by it.

        Raises:
            LocalClusterError: The cluster has no movable clocks, or the node did not take notice in time.
        """
        if self._clock is None:
            raise LocalClusterError(f"The clock of port {self.port} is the machine's: use movable_clocks.")
        self._clock.set(seconds)
        wait_for(
            lambda: None if abs(self._ahead() - seconds) < CLOCK_TOLERANCE else f"it is {self._ahead():g} s ahead",
            timeout,
            f"The clock of port {self.port} was not moved",
        )

    def _ahead(self) -> float:
        seconds, microseconds = self.command("TIME")
        return float(int(seconds) + int(microseconds) / 1_000_000 - time.time())

    def kill(self) -> None:
        """End the process at once, frozen or not, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._clock is not None:
                self._clock.forget(self.pid)
        self.admin.close()


def _admin_client(port: int, settings: Settings) -> redis.Redis:
    ca_file = None if settings.certificates is None else str(settings.certificates.ca)
    return redis.Redis(
        host=HOST,
        port=port,
        username=ADMIN,
        password=settings.admin_password,
        decode_responses=True,
        protocol=2,
        socket_timeout=ADMIN_TIMEOUT_SECONDS,
        socket_connect_timeout=ADMIN_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        ssl=ca_file is not None,
        ssl_ca_certs=ca_file,
    )


def die_with_parent() -> list[str]:
    """Words before a command that let it end with this process, where that can be had."""
    setpriv = shutil.which("setpriv")
    # Linux sends the signal when the *thread* that started the process ends: only the main thread lasts long enough.
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", "KILL", "--"]
