"""A cluster's life from start to stop, and questions about it."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import redis
from redis.crc import key_slot

from scripts.localcluster.config import Settings
from scripts.localcluster.errors import LocalClusterError
from scripts.localcluster.formation import form
from scripts.localcluster.node import Node, find_server
from scripts.localcluster.ports import HOST, free_ports, require_free
from scripts.localcluster.tls import make_certificates
from scripts.localcluster.topology import disagreement, owner_port, view
from scripts.localcluster.waiting import wait_for

PRIMARIES = 3
NODES = 6
#: At ports that were free a moment ago.
ATTEMPTS = 3
EVERYTHING = "on ~* &* +@all"


class RunningCluster:
    """A Redis Cluster of three primaries and three replicas on 127.0.0.1, ended by `stop`.

    Use it as a context manager. Start it in the main thread: then the servers also end when this process is killed.

    Attributes:
        nodes: All nodes, also the dead ones; the first three start as primaries.
        username: The Redis user of the clients.
        password: Its password.
        directory: Where the nodes keep their files and logs; set by `start`.
        ca_file: The authority to trust when the cluster uses TLS; set by `start`.
    """

    def __init__(
        self,
        ports: Sequence[int] | None = None,
        *,
        tls: bool = False,
        access_string: str | None = None,
        username: str = "worker",
        password: str | None = None,
        directory: Path | None = None,
        node_timeout_ms: int = 2_000,
        appendonly: bool = False,
        movable_clocks: bool = False,
        start_timeout: float = 60.0,
    ) -> None:
        """Describe a cluster; nothing runs yet.

        Args:
            ports: Six ports whose bus ports (+10000) are free too; None finds some.
            tls: Whether clients, replication and cluster bus use TLS.
            access_string: The clients' permissions, as ElastiCache takes them; None allows everything.
            username: The clients' Redis user; "default" gives a cluster with a password only.
            password: Its password; None makes one up.
            directory: Where to keep files and logs after the end; None uses a temporary directory, removed at the end.
            node_timeout_ms: Milliseconds until a silent node counts as failed.
            appendonly: Whether writes go to disk, so that a killed node returns with its data.
            movable_clocks: Whether each node has a clock of its own, as `Node.move_clock` needs it.
            start_timeout: Seconds that `start` may take.

        Raises:
            LocalClusterError: The number of ports is not six.
        """
        if ports is not None and len(set(ports)) != NODES:
            raise LocalClusterError(f"A local cluster needs {NODES} different ports, not {len(set(ports))}.")
        self.nodes: list[Node] = []
        self.username = username
        self.password = password or secrets.token_urlsafe(16)
        self.directory: Path | None = None
        self.ca_file: Path | None = None
        self._ports = None if ports is None else list(ports)
        self._tls = tls
        self._access_string = access_string or EVERYTHING
        self._kept_directory = directory
        self._node_timeout_ms = node_timeout_ms
        self._appendonly = appendonly
        self._movable_clocks = movable_clocks
        self._start_timeout = start_timeout
        self._settings: Settings | None = None
        #: A slot of each primary that was lost, to find its successor.
        self._served: dict[Node, int] = {}

    def __enter__(self) -> Self:
        """Start the cluster."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the cluster."""
        self.stop()

    @property
    def url(self) -> str:
        """The broker URL with the first living node as its seed.

        Raises:
            LocalClusterError: No node is alive.
        """
        scheme = "redisclusters" if self._tls else "rediscluster"
        credentials = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}"
        return f"{scheme}://{credentials}@{HOST}:{self._responsive()[0].port}"

    @property
    def settings(self) -> Settings:
        """What the nodes share.

        Raises:
            LocalClusterError: The cluster was never started.
        """
        if self._settings is None:
            raise LocalClusterError("The cluster does not run.")
        return self._settings

    @property
    def primaries(self) -> list[Node]:
        """The responsive nodes that take themselves for primaries."""
        return [node for node in self._responsive() if node.role == "primary"]

    @property
    def replicas(self) -> list[Node]:
        """The responsive nodes that take themselves for replicas."""
        return [node for node in self._responsive() if node.role == "replica"]

    def start(self) -> None:
        """Start the servers, join them and wait until every node reports a working cluster.

        Raises:
            LocalClusterError: A port is taken, redis-server is missing or refuses to start, or the cluster does not
                form in time; the servers' logs are then kept and nothing keeps running.
        """
        if self.nodes:
            raise LocalClusterError("The cluster runs already.")
        if self._ports is not None:
            require_free(self._ports)
        find_server()
        self.directory = (self._kept_directory or Path(tempfile.mkdtemp(prefix="localcluster-"))).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except LocalClusterError as error:
            self._end_processes()
            raise LocalClusterError(f"{error} The servers' logs are in {self.directory}.") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all servers and remove their files unless a directory was given; does nothing the second time."""
        self._end_processes()
        if self.directory is not None and self._kept_directory is None:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.directory = self.ca_file = None

    def admin(self, node: Node) -> redis.Redis:
        """Give a client for the administrator of one node; it answers with str."""
        return node.admin

    def primary_for(self, key: str) -> Node:
        """Find the primary that serves a key.

        Raises:
            LocalClusterError: No responsive node does.
        """
        return self.primary_of_slot(key_slot(key.encode()))

    def primary_of_slot(self, slot: int) -> Node:
        """Find the primary that serves a slot.

        Raises:
            LocalClusterError: No responsive node does.
        """
        port = owner_port(self._responsive(), slot)
        if port is None:
            raise LocalClusterError(f"No living node serves slot {slot}.")
        return self._by_port(port)

    def replicas_of(self, primary: Node) -> list[Node]:
        """Find the nodes that call themselves replicas of a primary, which may be dead."""
        followers = []
        for node in self._responsive():
            own = next(member for member in view(node) if "myself" in member.flags)
            if own.primary_id == primary.id:
                followers.append(node)
        return followers

    def wait_until_stable(self, timeout: float = 90.0) -> None:
        """Wait until all responsive nodes agree on a working cluster.

        Args:
            timeout: Seconds.

        Raises:
            LocalClusterError: They do not in time.
        """
        wait_for(lambda: disagreement(self._responsive()), timeout, "The cluster did not become stable")

    def _start(self) -> None:
        directory = self._require_directory()
        certificates = make_certificates(directory) if self._tls else None
        self.ca_file = None if certificates is None else certificates.ca
        self._settings = Settings(
            username=self.username,
            password=self.password,
            access_string=self._access_string,
            node_timeout_ms=self._node_timeout_ms,
            appendonly=self._appendonly,
            movable_clocks=self._movable_clocks,
            certificates=certificates,
        )
        deadline = time.monotonic() + self._start_timeout
        self._start_servers(deadline)
        form(self.nodes, PRIMARIES, deadline - time.monotonic())
        wait_for(
            lambda: disagreement(self.nodes, each_primary_has_replica=True),
            deadline - time.monotonic(),
            "The cluster did not form",
        )

    def _start_servers(self, deadline: float) -> None:
        for attempts_left in reversed(range(1 if self._ports else ATTEMPTS)):
            for port in self._ports or free_ports(NODES):
                self._launch(port)
            try:
                for node in self.nodes:
                    wait_for(node.problem, deadline - time.monotonic(), "The servers did not start")
                return
            except LocalClusterError:
                # A port that was free may have been taken before the server bound it.
                if not attempts_left or all(node.alive for node in self.nodes):
                    raise
            given_up = self.nodes
            self._end_processes()
            for node in given_up:
                shutil.rmtree(node.directory)

    def _launch(self, port: int) -> Node:
        node = Node(port, self._require_directory() / f"node-{port}", self.settings)
        self.nodes.append(node)
        node.launch()
        return node

    def _require_directory(self) -> Path:
        if self.directory is None:
            raise LocalClusterError("The cluster does not run.")
        return self.directory

    def _end_processes(self) -> None:
        for node in self.nodes:
            node.kill()
        self.nodes = []
        self._served = {}

    def _responsive(self) -> list[Node]:
        nodes = [node for node in self.nodes if node.responsive]
        if not nodes:
            raise LocalClusterError("No node of the cluster is alive.")
        return nodes

    def _by_port(self, port: int) -> Node:
        return next(node for node in self.nodes if node.port == port)
