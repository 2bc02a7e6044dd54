"""The configuration's shape: types, ranges and how the values depend on each other.

Field order matters: a validator sees only the fields above its own, and says so in terms of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from infra.config.alarms import Alarms
from infra.config.fields import Section, matching
from infra.config.flower import Flower
from infra.config.network import Network
from infra.config.queues import Queue, QueueName
from infra.config.redis import Redis
from infra.config.schedules import Beat, Schedule, Schedules
from infra.config.tasks import Task
from infra.plan.egress import targets
from infra.plan.fargate import MAX_STOP_TIMEOUT
from infra.plan.tags import check_all, check_key, check_value
from service.fleet import Environment

#: Retention times that CloudWatch Logs accepts, in days.
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288
]


def _with_port(address: str) -> str:
    targets(address)
    return address


ModuleName = Annotated[str, matching(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "a Python module such as shop.tasks")]
Dependency = Annotated[
    str,
    matching(
        r"(tcp|https?|mongodb(\+srv)?)://[^@\s]+",
        "an address such as tcp://db:5432, https://… or mongodb://…, without credentials: it can be read by many",
    ),
    AfterValidator(_with_port),
]
Digest = Annotated[str, matching(r"sha256:[0-9a-f]{64}", "a digest: sha256: and 64 hexadecimal digits")]
TagKey = Annotated[str, AfterValidator(check_key)]
TagValue = Annotated[str, AfterValidator(check_value)]


class Image(Section):
    """How the service's image is built, or which one is taken.

    Attributes:
        platform: What the image and Fargate run on.
        base: The base image.
        digest: Of an image that is in the stack's repository, to run instead of building one: `sha256:…`.
    """

    platform: Literal["linux/amd64", "linux/arm64"]
    base: str = Field(min_length=1)
    digest: Digest | None


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


class Fleet(Section):
    """The whole configuration.

    Attributes:
        environment: Which defaults apply; the stack's name unless given.
        owner: Who answers for the stack, for the Owner tag.
        tags: Further tags of every resource, e.g. for cost allocation.
        protect: Refuse to delete what holds data: Redis, the key, the table and the bucket.
        task_modules: Python modules with the Celery tasks.
        wait_for: Addresses that must answer before a worker starts.
        exec: Whether people may open a shell in every container (ECS Exec), which makes its file system writable.
        lease: Seconds until a dead worker's tasks are taken over.
        queues: Those that the stack has, by name; the highest priority first, the dead letters last.
    """

    environment: Environment
    owner: Annotated[str, Field(min_length=1), AfterValidator(check_value)]
    tags: Annotated[dict[TagKey, TagValue], AfterValidator(check_all)]
    protect: bool
    task_modules: tuple[ModuleName, ...] = Field(min_length=1)
    wait_for: tuple[Dependency, ...]
    exec: bool
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
    beat: Beat
    flower: Flower
    schedules: Schedules
    queues: dict[QueueName, Queue]

    @field_validator("schedules")
    @classmethod
    def _somebody_publishes(cls, schedules: dict[str, Schedule], info: ValidationInfo) -> dict[str, Schedule]:
        if schedules and "beat" in info.data and not info.data["beat"].enabled:
            raise ValueError("are declared, but beat.enabled is false: nobody would publish them")
        return schedules
