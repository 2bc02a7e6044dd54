"""One Redis that is no cluster: what the transport must refuse, and what it is compared with."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from scripts.localcluster.errors import LocalClusterError
from scripts.localcluster.node import die_with_parent, find_server
from scripts.localcluster.ports import HOST, free_ports
from scripts.localcluster.waiting import wait_for


@contextmanager
def single_redis() -> Iterator[str]:
    """Run a standalone server without persistence; yields its `host:port`.

    Raises:
        LocalClusterError: There is no redis-server, or it did not answer within 60 s.
    """
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="single-redis-") as directory:
        options = ["--port", str(port), "--bind", HOST, "--save", "", "--dir", directory]
        with (Path(directory) / "redis.log").open("wb") as log:
            server = subprocess.Popen([*die_with_parent(), find_server(), *options], stdout=log)
        try:
            wait_for(lambda: _problem(server, port), 60, "The single Redis did not answer")
            yield f"{HOST}:{port}"
        finally:
            server.kill()
            server.wait()


def _problem(server: subprocess.Popen[bytes], port: int) -> str | None:
    if server.poll() is not None:
        # Whoever answers at its port now is somebody else.
        raise LocalClusterError(f"The single Redis ended with status {server.returncode}: is port {port} taken?")
    try:
        with redis.Redis(HOST, port) as client:
            client.ping()
    except redis.RedisError as error:
        return str(error)
    return None
