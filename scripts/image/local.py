"""What differs on this machine from the rendered task definitions, in one table; all else is as on AWS."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from scripts.demo.cloudwatch import CREDENTIALS
from scripts.image.errors import ImageError
from scripts.localcluster import LocalCluster
from scripts.render.services import EcsService

#: Where a container sees the local cluster's authority; Redis on AWS has one that the image trusts anyway.
AUTHORITY = "/tmp/redis-ca.pem"  # noqa: S108 - inside the container


def differences(cluster: LocalCluster, cloudwatch: str = "", health_port: int = 0) -> dict[str, str]:
    """Variables that have other values here.

    Args:
        cluster: The local cluster, running with TLS.
        cloudwatch: Address of a stand-in, for the monitor.
        health_port: Where the health endpoint listens, to be asked from outside; 0 leaves it to the worker.
    """
    return {
        # No configuration endpoint, and no Secrets Manager.
        "FLEET_REDIS_HOST": "127.0.0.1",
        "FLEET_REDIS_PORT": str(cluster.primaries[0].port),
        "FLEET_REDIS_PASSWORD": cluster.password,
        "FLEET_REDIS_CA_FILE": AUTHORITY,
        **({"FLEET_HEALTH_PORT": str(health_port)} if health_port else {}),
        # No role of a task.
        **({"AWS_ENDPOINT_URL": cloudwatch, **CREDENTIALS} if cloudwatch else {}),
    }


def environment(service: EcsService, different: Mapping[str, str]) -> dict[str, str]:
    """All variables of a service's task on this machine.

    Raises:
        ImageError: A secret has no value here.
    """
    missing = sorted(set(service.secrets) - set(different))
    if missing:
        raise ImageError(f"{service.name} has secrets without a local value: {', '.join(missing)}")
    return {**service.environment, **different}


def files(cluster: LocalCluster) -> dict[Path, str]:
    """Files that a container sees.

    Raises:
        ImageError: The cluster does not use TLS.
    """
    if cluster.ca_file is None:
        raise ImageError("the local cluster does not use TLS, and the stack's does")
    return {cluster.ca_file: AUTHORITY}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        port: int = place.getsockname()[1]
        return port
