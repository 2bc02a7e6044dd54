"""A stand-in for CloudWatch: a local moto server that the monitor publishes to."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import requests

from scripts.demo.errors import DemoError
from scripts.demo.processes import Child, Children

#: What boto3 asks for where an ECS task would have its role.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}


class CloudWatchStandIn:
    """The server and questions to it.

    Attributes:
        url: For `AWS_ENDPOINT_URL`.
    """

    def __init__(self, children: Children, log: Path) -> None:
        """Start the server on a free port."""
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        self._child: Child = children.start("CloudWatch stand-in", command, dict(os.environ), log)

    def wait(self, timeout: float = 60.0) -> None:
        """Wait until it answers.

        Raises:
            DemoError: It ended or does not answer in time.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self._child.alive:
                raise DemoError(f"The CloudWatch stand-in did not start: {self._child.last_words()}")
            try:
                requests.get(f"{self.url}/moto-api/", timeout=1)
                return
            except requests.RequestException:
                time.sleep(0.1)
        raise DemoError(f"The CloudWatch stand-in does not answer after {timeout:.0f} s.")

    def maximum(self, namespace: str, metric: str, dimensions: Mapping[str, str], region: str) -> float | None:
        """The largest value that was published under a name; None if none was."""
        return maximum(self.url, namespace, metric, dimensions, region)


def maximum(url: str, namespace: str, metric: str, dimensions: Mapping[str, str], region: str) -> float | None:
    """The largest value that was published to the stand-in at `url` in the last half hour; None if none was."""
    client = boto3.client(
        "cloudwatch",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    now = datetime.now(UTC)
    points = client.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - timedelta(minutes=30),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    return max((point["Maximum"] for point in points), default=None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
