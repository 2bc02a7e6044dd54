"""Points what Celery's suite reads from Redis by itself at the cluster; the URLs are variables of the suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import redis
from t.integration import tasks  # type: ignore[import-not-found] # the suite's, on the path of its own run

from service.rediscluster.backend import ClusterClient

#: The administrator's URL of one node: the suite keeps keys of its own beside those that a worker may touch.
ADMIN_VARIABLE = "CONFORMANCE_ADMIN_URL"
#: Commands by which the suite looks at results through the backend's client, which Celery itself does not use.
LOOKS = ("exists", "llen", "rpush", "ttl", "zadd", "zcard")


class SuiteClient(redis.RedisCluster):
    """The cluster's client in place of the single server's."""

    def execute_command(self, *command: Any, **options: Any) -> Any:
        """Run a command; results are announced on sharded channels, which every primary lists for itself."""
        if command != ("PUBSUB CHANNELS",):
            return super().execute_command(*command, **options)  # type: ignore[no-untyped-call] # redis-py's
        answer = super().execute_command(  # type: ignore[no-untyped-call] # redis-py's
            "PUBSUB SHARDCHANNELS", target_nodes=redis.RedisCluster.PRIMARIES
        )
        return [_stock_name(channel) for channel in answer]


def _stock_name(channel: bytes) -> bytes:
    """Channel `result:{id}:task` is what stock Celery calls `celery-task-meta-id`."""
    return b"celery-task-meta-" + channel.partition(b"{")[2].partition(b"}")[0]


def get_redis_connection() -> redis.RedisCluster:
    """What the suite's function of this name returns, on the cluster."""
    return SuiteClient.from_url(os.environ[ADMIN_VARIABLE], socket_timeout=None)


def _look(command: str) -> Callable[..., Any]:
    return lambda _, *arguments: getattr(get_redis_connection(), command)(*arguments)


tasks.get_redis_connection = get_redis_connection
for _command in LOOKS:
    setattr(ClusterClient, _command, _look(_command))
