"""The configuration of a queue: what it is, and how its workers run and scale.

Some values depend on what stands elsewhere; the loader says it in the validation context, a `Surroundings`.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from infra.config.fields import Section, at_least, at_most, matching
from infra.config.tasks import Task
from infra.plan.cron import check_at, check_cron
from infra.plan.names import check_queue
from service.fleet import KEPT_LIMITS, MAX_PARTITIONS, MAX_PRIORITY, Pool

#: Minutes for which ECS protects a task at most.
MAX_PROTECTION = 2880
#: Managed policies of a role, by the quota that an account has when it is new.
MAX_POLICIES = 10


@dataclass(frozen=True)
class Surroundings:
    """What a queue's values depend on beside each other.

    Attributes:
        stack: The stack's name.
        queues: The names of all queues.
        grace: Seconds that running tasks get at a shutdown; None if that is wrong itself.
    """

    stack: str
    queues: Collection[str]
    grace: int | None


def _queue_name(name: str, info: ValidationInfo) -> str:
    around = cast(Surroundings, info.context)
    return check_queue(name, around.stack, around.queues)


def _own_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError("a variable is written in capitals, digits and underscores")
    if name.startswith(("FLEET_", "AWS_", "ECS_")):
        raise ValueError("variables that start with FLEET_, AWS_ or ECS_ are set by the stack")
    if name in ("PATH", "TMPDIR") or name.startswith("PYTHON"):
        raise ValueError("PATH, TMPDIR and PYTHON… belong to the image: nothing would start")
    return name


def _few(arns: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(arns)) < len(arns):
        raise ValueError("names a policy twice")
    if len(arns) > MAX_POLICIES:
        raise ValueError(f"{len(arns)} policies; IAM takes {MAX_POLICIES} a role, join some")
    return arns


def only_once(secrets: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    """Return `secrets` if none of their variables stands under the field `environment` above it, too.

    Raises:
        ValueError: If one does.
    """
    twice = sorted(secrets.keys() & info.data.get("environment", {}).keys())
    if twice:
        raise ValueError(f"{', '.join(twice)} also stands under environment; keep one")
    return secrets


def _time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone such as Europe/Berlin or UTC") from None
    return name


QueueName = Annotated[str, AfterValidator(_queue_name)]
Variable = Annotated[str, AfterValidator(_own_variable)]
SecretArn = Annotated[str, matching(r"arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:\S+", "the ARN of a secret")]
PolicyArn = Annotated[str, matching(r"arn:[\w-]+:iam::(\d{12}|aws):policy/\S+", "the ARN of an IAM policy")]


class Spot(Section):
    """Which tasks run on FARGATE_SPOT.

    Attributes:
        base: So many tasks are on demand whatever happens.
        percent: Share of the tasks above the base that are on Spot; 0 for none.
    """

    base: int = Field(ge=1, le=500)
    percent: int = Field(ge=0, le=100)


class Window(Section):
    """Bounds that hold from a time on, until the next entry of the schedule.

    Attributes:
        cron: Six fields as AWS writes them, for a time that comes again.
        at: Or one moment.
        timezone: Of either.
        min: Fewest tasks from then on.
        max: Most tasks from then on.
    """

    cron: Annotated[str, AfterValidator(check_cron)] | None
    at: Annotated[str, AfterValidator(check_at)] | None
    timezone: Annotated[str, AfterValidator(_time_zone)]
    min: int = Field(ge=1, le=500)
    max: int = Field(ge=1, le=500)

    @field_validator("at")
    @classmethod
    def _one_time(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "cron" in info.data and (value is None) == (info.data["cron"] is None):
            raise ValueError("give either cron, such as 0 8 ? * MON-FRI *, or at, such as 2026-12-24T08:00:00")
        return value

    @field_validator("max")
    @classmethod
    def _room(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, info, "min")

    @property
    def expression(self) -> str:
        """The time as Application Auto Scaling takes it."""
        return f"cron({self.cron})" if self.cron is not None else f"at({self.at})"


class Queue(Task):
    """A queue and its workers.

    Attributes:
        enabled: Whether the stack has it.
        priority: Default priority of its messages, 0 to 10, 10 first.
        pool: Celery's worker pool.
        partitions: Into how many parts the queue is split.
        min: Fewest tasks.
        max: Most tasks; equal to `min` means no autoscaling.
        concurrency: Celery tasks at a time in one worker.
        autoscale_min: Pool processes of an idle worker (prefork only), or null for a fixed pool.
        time_limit: Seconds until a Celery task's process is killed; null on pools that do not keep it.
        soft_time_limit: Seconds until a Celery task is asked to end; null on pools that do not keep it.
        max_tasks_per_child: Celery tasks until a pool process is replaced; null on pools without processes.
        idempotent: Its tasks may run twice.
        protection: Minutes for which a run of a Celery task keeps its worker from being stopped; 0 for none.
        spot: Which tasks run on Spot.
        schedule: When other bounds than `min` and `max` hold.
        scale_out_depth: Messages that could run now, above which tasks are added.
        target_latency: Seconds that a message may wait; above, tasks are added.
        task_seconds: How long a Celery task takes on average, if that is known.
        backlog_per_task: Messages per running task that target tracking keeps.
        scale_in_busy: Percent of busy slots below which one task is removed.
        alarm_depth: Messages that could run now, above which people are told.
        alarm_age: Seconds the oldest message has been ready, above which people are told.
        alarm_failures: Percent of ended messages on the dead list within five minutes, above which people are told.
        environment: Further environment variables.
        secrets: Further environment variables from Secrets Manager: variable -> ARN.
        policies: IAM policies that the tasks' own AWS calls need.
    """

    enabled: bool
    priority: int = Field(ge=0, le=MAX_PRIORITY)
    pool: Pool
    partitions: int = Field(ge=1, le=MAX_PARTITIONS)
    min: int = Field(ge=1, le=500)
    max: int = Field(ge=1, le=500)
    concurrency: int = Field(ge=1, le=1000)
    autoscale_min: int | None = Field(ge=1)
    time_limit: Annotated[int, Field(ge=2)] | None
    soft_time_limit: Annotated[int, Field(ge=1)] | None
    max_tasks_per_child: Annotated[int, Field(ge=1)] | None
    idempotent: bool
    protection: int = Field(ge=0, le=MAX_PROTECTION)
    spot: Spot
    schedule: tuple[Window, ...]
    scale_out_depth: int = Field(ge=1)
    target_latency: int = Field(ge=1)
    task_seconds: Annotated[float, Field(gt=0)] | None
    backlog_per_task: int = Field(ge=1)
    scale_in_busy: int = Field(ge=1, le=90)
    alarm_depth: int
    alarm_age: int
    alarm_failures: int = Field(ge=1, le=100)
    environment: dict[Variable, str]
    secrets: Annotated[dict[Variable, SecretArn], AfterValidator(only_once)]
    policies: Annotated[tuple[PolicyArn, ...], AfterValidator(_few)]

    @field_validator("max")
    @classmethod
    def _room(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, info, "min")

    @field_validator("concurrency")
    @classmethod
    def _solo_is_one(cls, value: int, info: ValidationInfo) -> int:
        if info.data.get("pool") == "solo" and value > 1:
            raise ValueError(f"{value} does not fit the solo pool, which runs one task at a time; leave it out")
        return value

    @field_validator("autoscale_min")
    @classmethod
    def _shrinks(cls, value: int | None, info: ValidationInfo) -> int | None:
        pool = info.data.get("pool", "prefork")
        if value is not None and pool != "prefork":
            raise ValueError(f"only the prefork pool shrinks, not {pool}; leave it out")
        return value if value is None else at_most(value, info, "concurrency", "processes")

    @field_validator("time_limit", "soft_time_limit", "max_tasks_per_child")
    @classmethod
    def _kept(cls, value: int | None, info: ValidationInfo) -> int | None:
        pool: Pool | None = info.data.get("pool")
        if pool is None:
            return value
        kept = info.field_name in KEPT_LIMITS[pool]
        if value is not None and not kept:
            raise ValueError(f"{value} would not be kept by the {pool} pool; leave it out, or take another pool")
        if value is None and kept:
            raise ValueError(f"the {pool} pool needs a number here")
        return value

    @field_validator("soft_time_limit")
    @classmethod
    def _soft_before_hard(cls, value: int | None, info: ValidationInfo) -> int | None:
        hard: int | None = info.data.get("time_limit")
        if value is not None and hard is not None and value >= hard:
            raise ValueError(f"{value} s must be less than timeLimit {hard}")
        return value

    @field_validator("spot")
    @classmethod
    def _survives(cls, spot: Spot, info: ValidationInfo) -> Spot:
        most: int | None = info.data.get("max")
        if spot.percent and most is not None and spot.base > most:
            raise ValueError(f"base {spot.base} is more than max {most}: no task would be on Spot")
        around = cast(Surroundings, info.context)
        if not spot.percent or info.data.get("idempotent", True) or around.grace is None:
            return spot
        limit = info.data.get("time_limit", 0)
        if limit is None:
            why = f"the {info.data['pool']} pool keeps no timeLimit"
        elif limit > around.grace:
            why = f"tasks may take {limit} s (timeLimit)"
        else:
            return spot
        raise ValueError(
            f"percent {spot.percent}: {why}, and Spot ends a worker with {around.grace} s (shutdown.grace) for what "
            f"runs, the rest runs again; set idempotent: true if it may, timeLimit to at most {around.grace}, "
            "or percent to 0"
        )

    @field_validator("task_seconds")
    @classmethod
    def _within_limit(cls, value: float | None, info: ValidationInfo) -> float | None:
        limit: int | None = info.data.get("time_limit")
        if value is not None and limit is not None and value > limit:
            raise ValueError(f"{value} is more than timeLimit {limit}")
        return value

    @field_validator("alarm_depth")
    @classmethod
    def _depth_after_scaling(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, info, "scale_out_depth")

    @field_validator("alarm_age")
    @classmethod
    def _age_after_scaling(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, info, "target_latency")

    @property
    def fewest(self) -> int:
        """The fewest tasks at any time of the schedule."""
        return min((self.min, *(window.min for window in self.schedule)))

    @property
    def room(self) -> int:
        """By how many tasks the service can grow, at the time when that is most."""
        return max((self.max - self.min, *(window.max - window.min for window in self.schedule)))
