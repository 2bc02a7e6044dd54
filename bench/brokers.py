"""What is compared: stock kombu on one standalone Redis, and the cluster transport on three primaries with replicas."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.localcluster import LocalCluster
from scripts.localcluster.ports import free_ports


@contextmanager
def stock() -> Iterator[str]:
    """One Redis without persistence; its URL for kombu's own transport.

    Raises:
        TimeoutError: It did not answer within 10 s.
    """
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory() as directory:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        server = subprocess.Popen([shutil.which("redis-server") or "redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            ends = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > ends:
                        raise TimeoutError(f"redis-server did not answer on port {port} within 10 s") from None
                    time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            server.wait()


@contextmanager
def ours() -> Iterator[str]:
    """A 3+3 cluster; its URL for the cluster transport."""
    with LocalCluster() as cluster:
        yield cluster.url
