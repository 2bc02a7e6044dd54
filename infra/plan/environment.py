"""The environment variables through which the infrastructure configures the service."""

from __future__ import annotations

from typing import Any

from infra.config.flower import Flower
from infra.config.model import Fleet
from infra.config.queues import Queue
from infra.config.schedules import text_of
from infra.plan.elasticache import Authentication
from infra.plan.names import RedisNames
from service import fleet as shared
from service.fleet import REDIS_PORT


def common(fleet: Fleet, stack: str, region: Any) -> dict[str, Any]:
    """Return what every service gets beside `redis`; `region` may be an output."""
    return {
        "FLEET_STACK": stack,
        "FLEET_ENVIRONMENT": fleet.environment,
        "FLEET_REDIS_TLS": "true",
        "FLEET_LOG_LEVEL": fleet.logs.level,
        "FLEET_LOG_FORMAT": fleet.logs.format,
        "FLEET_QUEUE_TABLE": queue_table(fleet),
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }


def redis(prefix: str, host: Any, names: RedisNames, authentication: Authentication) -> dict[str, Any]:
    """Return how every service reaches a Redis cluster.

    Args:
        prefix: What the variables start with.
        host: The cluster's configuration endpoint; may be an output.
        names: The cluster's.
        authentication: How the services log in.
    """
    return {
        f"{prefix}_HOST": host,
        f"{prefix}_PORT": str(REDIS_PORT),
        f"{prefix}_USERNAME": names.user,
        # Tokens are signed for it.
        **({f"{prefix}_GROUP": names.group} if authentication == "iam" else {}),
    }


def letters(fleet: Fleet, table: Any, bucket: Any) -> dict[str, Any]:
    """Return what the workers get that keep dead letters; `table` and `bucket` are names and may be outputs."""
    return {
        "FLEET_LETTERS_TABLE": table,
        "FLEET_LETTERS_BUCKET": bucket,
        "FLEET_LETTERS_DAYS": str(fleet.letters.days),
    }


def beat(fleet: Fleet) -> dict[str, str]:
    """Return what the beat gets beside `common`."""
    return {
        **fleet.beat.environment,
        "FLEET_TASK_MODULES": ",".join(fleet.task_modules),
        **({"FLEET_SCHEDULES": text_of(fleet.schedules)} if fleet.schedules else {}),
    }


def monitor(fleet: Fleet) -> dict[str, str]:
    """Return what the monitor gets beside `common`."""
    return {"FLEET_WATCH_BEAT": str(fleet.beat.enabled).lower()}


def flower(settings: Flower) -> dict[str, str]:
    """Return what Flower gets beside `common`."""
    return {
        "FLEET_FLOWER_READ_ONLY": str(settings.read_only).lower(),
        "FLEET_FLOWER_EVENTS": str(settings.events).lower(),
    }


def worker(fleet: Fleet, queue: str, settings: Queue) -> dict[str, str]:
    """Return what the workers of `queue` get beside `common`."""
    return {
        **settings.environment,
        "FLEET_QUEUES": queue,
        "FLEET_POOL": settings.pool,
        "FLEET_CONCURRENCY": str(settings.concurrency),
        **_stated("FLEET_AUTOSCALE_MIN", settings.autoscale_min),
        **_stated("FLEET_SOFT_TIME_LIMIT", settings.soft_time_limit),
        **_stated("FLEET_TIME_LIMIT", settings.time_limit),
        **_stated("FLEET_MAX_TASKS_PER_CHILD", settings.max_tasks_per_child),
        "FLEET_PROTECTION_MINUTES": str(settings.protection),
        "FLEET_LEASE": str(fleet.lease),
        "FLEET_SHUTDOWN_GRACE": str(fleet.shutdown.grace),
        "FLEET_RESULT_EXPIRES": str(fleet.results.expires),
        "FLEET_TASK_MODULES": ",".join(fleet.task_modules),
        **({"FLEET_WAIT_FOR": " ".join(fleet.wait_for)} if fleet.wait_for else {}),
    }


def queue_table(fleet: Fleet) -> str:
    """Return what every process, also a publisher outside the stack, must know of the queues."""
    return shared.queue_table(
        shared.Queue(name, queue.priority, partitions=queue.partitions) for name, queue in fleet.queues.items()
    )


def _stated(variable: str, value: int | None) -> dict[str, str]:
    return {} if value is None else {variable: str(value)}
