"""The configuration's shape: types, ranges and how the values depend on each other.

Field order matters: a validator sees only the fields above its own, and says so in terms of them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from infra.plan.cidr import MAX_ZONES, check_network
from infra.plan.fargate import MAX_STOP_TIMEOUT, check_cpu, check_memory
from service.fleet import DEAD_LETTER_QUEUE, QUEUES, Environment

#: Retention times that CloudWatch Logs accepts, in days.
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288
]

_DAYS = "mon|tue|wed|thu|fri|sat|sun"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"


def _matching(pattern: str, wanted: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{value!r} is not {wanted}")
        return value

    return AfterValidator(check)


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
ModuleName = Annotated[str, _matching(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "a Python module such as shop.tasks")]
Cidr = Annotated[str, _matching(r"\d+(\.\d+){3}/\d+", "an IPv4 range such as 203.0.113.0/24")]
SecretArn = Annotated[str, _matching(r"arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:\S+", "the ARN of a secret")]
PolicyArn = Annotated[str, _matching(r"arn:[\w-]+:iam::(\d{12}|aws):policy/\S+", "the ARN of an IAM policy")]
Dependency = Annotated[
    str,
    _matching(
        r"(tcp|https?|mongodb(\+srv)?)://[^@\s]+",
        "an address such as tcp://db:5432, https://… or mongodb://…, without credentials: it can be read by many",
    ),
]
Email = Annotated[str, _matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")]


class Section(BaseModel):
    """A part of the configuration: keys in camelCase, unknown keys refused, no type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class Image(Section):
    """How the service's image is built.

    Attributes:
        platform: What the image and Fargate run on.
        base: The base image.
    """

    platform: Literal["linux/amd64", "linux/arm64"]
    base: str = Field(min_length=1)


class Network(Section):
    """The private network.

    Attributes:
        cidr: The VPC's addresses, /16 to /22.
        zones: Availability zones in use.
        nat: One NAT gateway, or one in every zone.
        egress_cidrs: Where tasks may open TLS connections beside AWS' gateway endpoints.
    """

    cidr: Annotated[str, AfterValidator(check_network)]
    zones: int = Field(ge=2, le=MAX_ZONES)
    nat: Literal["single", "per-zone"]
    egress_cidrs: tuple[Cidr, ...] = Field(min_length=1)


class Redis(Section):
    """The Redis cluster.

    Attributes:
        node_type: ElastiCache node type.
        engine_version: Redis 7.0 or 7.1.
        shards: Primaries; the key space is divided among them.
        replicas: Copies of each primary, at least 1 for failover.
        snapshot_days: How long daily snapshots are kept, 0 for none.
        snapshot_window: Time of day of the snapshot, UTC.
        maintenance_window: Time of week of AWS' maintenance, UTC.
        memory_alarm: Percent of a node's memory.
        cpu_alarm: Percent of a node's engine thread.
    """

    node_type: Annotated[str, _matching(r"cache\.[a-z0-9]+\.[a-z0-9]+", "a node type such as cache.m7g.large")]
    engine_version: Literal["7.0", "7.1"]
    shards: int = Field(ge=1, le=83)
    replicas: int = Field(ge=1, le=5)
    snapshot_days: int = Field(ge=0, le=35)
    snapshot_window: Annotated[str, _matching(f"{_CLOCK}-{_CLOCK}", "a time of day such as 01:00-02:00")]
    maintenance_window: Annotated[
        str, _matching(f"({_DAYS}):{_CLOCK}-({_DAYS}):{_CLOCK}", "a time of week such as sun:03:00-sun:04:00")
    ]
    memory_alarm: int = Field(ge=1, le=99)
    cpu_alarm: int = Field(ge=1, le=99)


class Shutdown(Section):
    """How a worker ends, in seconds.

    Attributes:
        stop_timeout: From SIGTERM to SIGKILL.
        grace: How long running tasks may still finish.
    """

    stop_timeout: int = Field(ge=70, le=MAX_STOP_TIMEOUT)
    grace: int = Field(ge=60)

    @field_validator("grace")
    @classmethod
    def _inside(cls, grace: int, info: ValidationInfo) -> int:
        stop: int | None = info.data.get("stop_timeout")
        if stop is not None and grace > stop - 10:
            raise ValueError(f"{grace} s leaves no time to return work; at most {stop - 10} with stopTimeout {stop}")
        return grace


class Results(Section):
    """Task results.

    Attributes:
        expires: Seconds until a result is forgotten.
    """

    expires: int = Field(ge=60)


class Letters(Section):
    """Dead letters.

    Attributes:
        days: Days for which one is kept, handled or not.
    """

    days: int = Field(ge=1, le=3650)


class Logs(Section):
    """Logging.

    Attributes:
        level: Verbosity of the service.
        format: One JSON object a line, or text for people.
        retention_days: How long CloudWatch keeps log lines.
    """

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    format: Literal["json", "text"]
    retention_days: RetentionDays


class Alarms(Section):
    """Who hears of alarms.

    Attributes:
        emails: Subscribers of the alarm topic; each confirms by a mail.
    """

    emails: tuple[Email, ...]


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
        return _at_most(value, info, "cpu", "units")

    @field_validator("container_memory")
    @classmethod
    def _memory_fits(cls, value: int, info: ValidationInfo) -> int:
        return _at_most(value, info, "memory", "MiB")

    @field_validator("memory_reservation")
    @classmethod
    def _reservation_fits(cls, value: int, info: ValidationInfo) -> int:
        return _at_most(value, info, "container_memory", "MiB")


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
    environment: dict[Variable, str]
    secrets: dict[Variable, SecretArn]
    policies: tuple[PolicyArn, ...]

    @field_validator("max")
    @classmethod
    def _room(cls, value: int, info: ValidationInfo) -> int:
        return _at_least(value, info, "min")

    @field_validator("autoscale_min")
    @classmethod
    def _pool(cls, value: int | None, info: ValidationInfo) -> int | None:
        return value if value is None else _at_most(value, info, "concurrency", "processes")

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
        return _at_least(value, info, "scale_out_depth")

    @field_validator("alarm_age")
    @classmethod
    def _age_after_scaling(cls, value: int, info: ValidationInfo) -> int:
        return _at_least(value, info, "scale_out_age")

    @field_validator("secrets")
    @classmethod
    def _once(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        twice = sorted(value.keys() & info.data.get("environment", {}).keys())
        if twice:
            raise ValueError(f"{', '.join(twice)} also stands under environment; keep one")
        return value


class Fleet(Section):
    """The whole configuration.

    Attributes:
        environment: Which defaults apply; the stack's name unless given.
        owner: Who answers for the stack, for the Owner tag.
        protect: Refuse to delete Redis, its key and its secret.
        task_modules: Python modules with the Celery tasks.
        wait_for: Addresses that must answer before a worker starts.
        lease: Seconds until a dead worker's tasks are taken over.
    """

    environment: Environment
    owner: str = Field(min_length=1, max_length=256)
    protect: bool
    task_modules: tuple[ModuleName, ...] = Field(min_length=1)
    wait_for: tuple[Dependency, ...]
    lease: int = Field(ge=5, le=3600)
    image: Image
    network: Network
    redis: Redis
    shutdown: Shutdown
    results: Results
    letters: Letters
    logs: Logs
    alarms: Alarms
    monitor: Task
    queues: dict[QueueName, Queue]


def _at_most(value: int, info: ValidationInfo, field: str, unit: str) -> int:
    limit: int | None = info.data.get(field)
    if limit is not None and value > limit:
        raise ValueError(f"{value} is more than {to_camel(field)} {limit}; at most {limit} {unit}")
    return value


def _at_least(value: int, info: ValidationInfo, field: str) -> int:
    limit: int | None = info.data.get(field)
    if limit is not None and value < limit:
        raise ValueError(f"{value} is less than {to_camel(field)} {limit}; at least {limit}")
    return value
