"""The environment variables through which the infrastructure configures the service."""

from __future__ import annotations

from typing import Any

from infra.config.model import Fleet
from infra.config.schedules import text_of
from infra.config.tasks import Queue


def common(fleet: Fleet, stack: str, region: Any, redis_host: Any, redis_port: int, redis_user: str) -> dict[str, Any]:
    """Return what every service gets; `region` and `redis_host` may be outputs."""
    return {
        "FLEET_STACK": stack,
        "FLEET_ENVIRONMENT": fleet.environment,
        "FLEET_REDIS_HOST": redis_host,
        "FLEET_REDIS_PORT": str(redis_port),
        "FLEET_REDIS_USERNAME": redis_user,
        "FLEET_REDIS_TLS": "true",
        "FLEET_LOG_LEVEL": fleet.logs.level,
        "FLEET_LOG_FORMAT": fleet.logs.format,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
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


def worker(fleet: Fleet, queue: str, pool: str, settings: Queue) -> dict[str, str]:
    """Return what the workers of `queue` get beside `common`."""
    return {
        **settings.environment,
        "FLEET_QUEUES": queue,
        "FLEET_POOL": pool,
        "FLEET_CONCURRENCY": str(settings.concurrency),
        **({"FLEET_AUTOSCALE_MIN": str(settings.autoscale_min)} if settings.autoscale_min is not None else {}),
        "FLEET_SOFT_TIME_LIMIT": str(settings.soft_time_limit),
        "FLEET_TIME_LIMIT": str(settings.time_limit),
        "FLEET_MAX_TASKS_PER_CHILD": str(settings.max_tasks_per_child),
        "FLEET_LEASE": str(fleet.lease),
        "FLEET_SHUTDOWN_GRACE": str(fleet.shutdown.grace),
        "FLEET_RESULT_EXPIRES": str(fleet.results.expires),
        "FLEET_TASK_MODULES": ",".join(fleet.task_modules),
        **({"FLEET_WAIT_FOR": " ".join(fleet.wait_for)} if fleet.wait_for else {}),
    }
