"""What a cluster must be for the transport: looked at once, when a process connects."""

from __future__ import annotations

import logging

from redis import exceptions

from .cluster import Cluster
from .errors import ConfigurationError
from .topology import SLOTS

logger = logging.getLogger(__name__)

#: SPUBLISH and script flags came with it.
OLDEST_REDIS = (7, 0)


def check(cluster: Cluster) -> None:
    """Refuse what cannot work, warn of what loses messages.

    Raises:
        ConfigurationError: A primary runs a Redis older than 7.0.
        redis.exceptions.RedisError: A primary did not answer.
    """
    uncovered = SLOTS - cluster.covered()
    if uncovered:
        logger.warning("%d of %d slots are served by nobody: queues there cannot be used", uncovered, SLOTS)
    for name, info in cluster.describe().items():
        version = str(info.get("redis_version", ""))
        if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
            raise ConfigurationError(f"{name} runs Redis {version}; the transport needs 7.0 or newer")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            logger.warning(
                "%s evicts keys when its memory is full (maxmemory-policy %s): queued messages would vanish; "
                "set it to noeviction",
                name,
                policy,
            )


def check_quietly(cluster: Cluster) -> bool:
    """As `check`; returns whether every primary could be asked, since one that is away is no reason not to start."""
    try:
        check(cluster)
    except (exceptions.RedisError, OSError) as error:
        logger.debug("the cluster could not be looked at: %s", error)
        return False
    return True
