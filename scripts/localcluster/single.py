"""One Redis that is no cluster: what the transport must refuse, and what it is compared with."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from scripts.localcluster.node import die_with_parent, find_server
from scripts.localcluster.ports import HOST, free_ports
from scripts.localcluster.waiting import wait_for


@contextmanager
def single_redis() -> Iterator[str]:
    """Run a standalone server without persistence; yields its `host:port`.

    Raises:
        LocalClusterError: There is no redis-server, or it did not answer within 10 s.
    """
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="single-redis-") as directory:
        options = ["--port", str(port), "--bind", HOST, "--save", "", "--dir", directory]
        with (Path(directory) / "redis.log").open("wb") as log:
            server = subprocess.Popen([*die_with_parent(), find_server(), *options], stdout=log)
        try:
            wait_for(lambda: _problem(port), 10, "The single Redis did not answer")
            yield f"{HOST}:{port}"
        finally:
            server.kill()
            server.wait()


def _problem(port: int) -> str | None:
    try:
        with redis.Redis(HOST, port) as client:
            client.ping()
    except redis.RedisError as error:
        return str(error)
    return None
