"""One look at a Redis Cluster: is it complete, and will it serve us?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from redis import exceptions

from service.rediscluster.cluster import Cluster
from service.rediscluster.errors import ConfigurationError, is_retryable
from service.rediscluster.options import parse
from service.rediscluster.topology import SLOTS
from service.startup.dependencies import HopelessError, NotReadyError


def look_at_cluster(url: str, options: Mapping[str, Any], keys: Iterable[str], timeout: float) -> None:
    """Look once whether every slot has a primary that says it is one, and whether we may use our keys.

    Args:
        url: `rediscluster://…` with the credentials.
        options: Transport options.
        keys: Keys that must be readable: one that is refused or not served is named.
        timeout: Seconds to wait for a connection or a reply.

    Raises:
        NotReadyError: It is not complete.
        HopelessError: The credentials, the permissions or the address are wrong.
    """
    limits = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    try:
        cluster = Cluster(parse(url, {**options, **limits}))
    except ConfigurationError as error:
        raise HopelessError(str(error)) from error
    try:
        cluster.refresh()
        unserved = SLOTS - cluster.covered()
        if unserved:
            raise NotReadyError(f"{unserved} of {SLOTS} slots are served by nobody")
        for node, info in cluster.describe().items():
            _look_at_primary(node, info)
        for key in keys:
            cluster.once(key, "EXISTS", key)
    except ConfigurationError as error:
        raise HopelessError(str(error)) from error
    except (exceptions.RedisError, OSError) as error:
        raise (NotReadyError if is_retryable(error) else HopelessError)(str(error)) from error
    finally:
        cluster.close()


def _look_at_primary(node: str, info: Mapping[str, str]) -> None:
    role = info.get("role", "master")
    if role != "master":
        raise NotReadyError(f"{node} should be a primary and says that it is a {role}")
    if info.get("loading", "0") != "0":
        raise NotReadyError(f"{node} is still loading its data")
