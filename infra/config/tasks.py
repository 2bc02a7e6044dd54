"""The configuration of tasks on Fargate: sizes, and one queue's workers."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from infra.config.fields import Section, at_least, at_most, matching
from infra.plan.fargate import check_cpu, check_memory
from service.fleet import DEAD_LETTER_QUEUE, QUEUES


def _known_queue(name: str) -> str:
    known = [queue.name for queue in (*QUEUES, DEAD_LETTER_QUEUE)]
    if name not in known:
        raise ValueError(f"unknown queue; known: {', '.join(known)}")
    return name


def _own_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError("a variable is written in capitals, digits and underscores")
    if name.startswith(("FLEET_", "AWS_", "ECS_")):
        raise ValueError("variables that start with FLEET_, AWS_ or ECS_ are set by the stack")
    return name


QueueName = Annotated[str, AfterValidator(_known_queue)]
Variable = Annotated[str, AfterValidator(_own_variable)]
SecretArn = Annotated[str, matching(r"arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:\S+", "the ARN of a secret")]
PolicyArn = Annotated[str, matching(r"arn:[\w-]+:iam::(\d{12}|aws):policy/\S+", "the ARN of an IAM policy")]


class Task(Section):
    """Size of a Fargate task and of the container in it.

    Attributes:
        cpu: Task's cpu units, 1024 are one vCPU; the container's limit.
        memory: Task's memory in MiB.
        container_cpu: Guaranteed cpu units; default half of `cpu`.
        container_memory: MiB above which the container is killed; default half of `memory`.
        memory_reservation: MiB that are guaranteed; default a quarter of `memory`.
    """

    cpu: Annotated[int, AfterValidator(check_cpu)]
    memory: int
    container_cpu: int = Field(default=0, ge=1)
    container_memory: int = Field(default=0, ge=6)
    memory_reservation: int = Field(default=0, ge=6)

    @field_validator("memory")
    @classmethod
    def _sold(cls, memory: int, info: ValidationInfo) -> int:
        return check_memory(info.data["cpu"], memory) if "cpu" in info.data else memory

    @field_validator("container_cpu")
    @classmethod
    def _cpu_fits(cls, value: int, info: ValidationInfo) -> int:
        return at_most(value, info, "cpu", "units")

    @field_validator("container_memory")
    @classmethod
    def _memory_fits(cls, value: int, info: ValidationInfo) -> int:
        return at_most(value, info, "memory", "MiB")

    @field_validator("memory_reservation")
    @classmethod
    def _reservation_fits(cls, value: int, info: ValidationInfo) -> int:
        return at_most(value, info, "container_memory", "MiB")


class Queue(Task):
    """One queue's workers.

    Attributes:
        min: Fewest tasks.
        max: Most tasks; equal to `min` means no autoscaling.
        concurrency: Celery tasks at a time in one worker.
        soft_time_limit: Seconds until a Celery task is asked to end.
        time_limit: Seconds until its process is killed.
        max_tasks_per_child: Celery tasks until a pool process is replaced.
        autoscale_min: Pool processes of an idle worker (prefork only), or null for a fixed pool.
        spot: Take the tasks above the first from FARGATE_SPOT.
        scale_out_depth: Messages that could run now, above which tasks are added.
        scale_out_age: Seconds the oldest message has been ready, above which tasks are added.
        backlog_per_task: Messages per running task that target tracking keeps.
        scale_in_busy: Percent of busy slots below which one task is removed.
        alarm_depth: Messages that could run now, above which people are told.
        alarm_age: Seconds the oldest message has been ready, above which people are told.
        alarm_failures: Percent of ended messages on the dead list within five minutes, above which people are told.
        environment: Further environment variables.
        secrets: Further environment variables from Secrets Manager: variable -> ARN.
        policies: IAM policies that the tasks' own AWS calls need.
    """

    min: int = Field(ge=1, le=500)
    max: int = Field(ge=1, le=500)
    concurrency: int = Field(ge=1, le=1000)
    autoscale_min: int | None = Field(ge=1)
    soft_time_limit: int = Field(ge=1)
    time_limit: int
    max_tasks_per_child: int = Field(ge=1)
    spot: bool
    scale_out_depth: int = Field(ge=1)
    scale_out_age: int = Field(ge=1)
    backlog_per_task: int = Field(ge=1)
    scale_in_busy: int = Field(ge=1, le=90)
    alarm_depth: int
    alarm_age: int
    alarm_failures: int = Field(ge=1, le=100)
    environment: dict[Variable, str]
    secrets: dict[Variable, SecretArn]
    policies: tuple[PolicyArn, ...]

    @field_validator("max")
    @classmethod
    def _room(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, info, "min")

    @field_validator("autoscale_min")
    @classmethod
    def _pool(cls, value: int | None, info: ValidationInfo) -> int | None:
        return value if value is None else at_most(value, info, "concurrency", "processes")

    @field_validator("time_limit")
    @classmethod
    def _hard_after_soft(cls, value: int, info: ValidationInfo) -> int:
        soft: int | None = info.data.get("soft_time_limit")
        if soft is not None and value <= soft:
            raise ValueError(f"{value} s must be more than softTimeLimit {soft}")
        return value

    @field_validator("alarm_depth")
    @classmethod
    def _depth_after_scaling(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, info, "scale_out_depth")

    @field_validator("alarm_age")
    @classmethod
    def _age_after_scaling(cls, value: int, info: ValidationInfo) -> int:
        return at_least(value, info, "scale_out_age")

    @field_validator("secrets")
    @classmethod
    def _once(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        twice = sorted(value.keys() & info.data.get("environment", {}).keys())
        if twice:
            raise ValueError(f"{', '.join(twice)} also stands under environment; keep one")
        return value
