"""The service's settings: read from the environment, validated, never printed with their secrets."""

from __future__ import annotations

import difflib
import os
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service import fleet, queues
from service.signing import SigningDirectory
from service.startup.address import address_problem

PREFIX = "FLEET_"
#: Exit code for a setting that was refused.
EXIT_CONFIG = 2
#: ECS stops a Fargate task at 120 s at the latest; what is left after the grace is for handing work back.
MIN_GRACE, MAX_GRACE = 60, 110

DAY = 24 * 60 * 60
#: Characters of a password that people log in with.
MIN_PASSWORD = 16

#: Pydantic's complaint about a default that depends on a field which was refused: not worth a line of its own.
_NOT_CALLED = "default_factory_not_called"

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class SettingsError(Exception):
    """One or more settings are wrong.

    Attributes:
        problems: One sentence for each, starting with the variable's name.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _split(value: object) -> object:
    """Turn `a, b` into `("a", "b")`; anything but a string is left to pydantic."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _split_words(value: object) -> object:
    """Turn `a b` into `("a", "b")`; the addresses of a replica set have commas in them."""
    return tuple(value.split()) if isinstance(value, str) else value


def _parse_table(value: object) -> object:
    """Turn the JSON of FLEET_QUEUE_TABLE into queues."""
    return queues.parse(value) if isinstance(value, str) else value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
SpaceList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_words)]
QueueTable = Annotated[tuple[fleet.Queue, ...], NoDecode, BeforeValidator(_parse_table)]


def _served(table: Iterable[fleet.Queue]) -> tuple[str, ...]:
    """What a worker serves that is not told: everything but the dead letters."""
    return tuple(queue.name for queue in table if queue.name != fleet.DEAD_LETTER_QUEUE.name)


def _by_environment(staging: Any, prod: Any) -> Any:
    """A default that depends on the environment."""
    return Field(default_factory=lambda known: staging if known.get("environment") == "staging" else prod)


class Settings(BaseSettings):
    """Everything the service reads from its environment; field `x` is the variable `FLEET_X`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    stack: str = Field("local", pattern=r"^[a-z][a-z0-9-]{0,30}$", description="Its name, for metrics and logs.")
    environment: fleet.Environment = Field("staging", description="Chooses the defaults below.")

    queue_table: QueueTable = Field(
        fleet.ALL_QUEUES, repr=False, description="Every queue of the stack, as JSON; the same for all processes."
    )
    queues: CommaList = Field(
        default_factory=lambda known: _served(known.get("queue_table", ())),
        description="Queues this worker serves, comma-separated.",
    )
    pool: fleet.Pool = Field("prefork", description="Celery's worker pool.")
    concurrency: int = Field(2, ge=1, le=1000, description="Tasks at the same time (with autoscale: at most).")
    autoscale_min: int | None = Field(None, ge=1, description="Shrink to this many processes when idle.")
    task_modules: CommaList = Field(("service.tasks",), description="Modules with tasks, comma-separated.")

    schedules: str = Field("", repr=False, description="Periodic tasks of the stack, as JSON; see service.beat.")
    watch_beat: bool = Field(False, description="Whether a beat belongs to the stack: its absence is silence, too.")
    beat_lease: int = Field(15, ge=3, le=60, description="Seconds until another beat leads when the leader is dead.")

    redis_host: str = Field("localhost", min_length=1, description="A node or the configuration endpoint.")
    redis_port: int = Field(fleet.REDIS_PORT, ge=1, le=65535, description="Its port.")
    redis_tls: bool = Field(False, description="Encrypt the connections.")
    redis_ca_file: Path | None = Field(None, description="Certificates to trust instead of the system's.")
    redis_auth: Literal["password", "iam"] = Field(
        "password", validate_default=True, description="How to log in; iam signs with this machine's AWS credentials."
    )
    redis_username: str | None = Field(None, validate_default=True, description="User of the access control list.")
    redis_password: SecretStr | None = Field(None, validate_default=True, description="The user's password.")
    redis_group: str | None = Field(None, validate_default=True, description="Replication group that IAM signs for.")
    result_redis_host: str | None = Field(None, description="A cluster of its own for the results.")
    result_redis_port: int = Field(fleet.REDIS_PORT, ge=1, le=65535, description="Its port; TLS as above.")
    result_redis_username: str | None = Field(
        None, validate_default=True, description="User there; as above if left out."
    )
    result_redis_password: SecretStr | None = Field(
        None, validate_default=True, description="The user's password there."
    )
    result_redis_group: str | None = Field(None, validate_default=True, description="Its replication group.")

    lease: int = Field(60, ge=5, le=3600, description="Seconds until a dead worker's tasks are taken over.")
    shutdown_grace: int = Field(
        100, ge=MIN_GRACE, le=MAX_GRACE, description="Seconds that running tasks get to finish after SIGTERM."
    )
    protection_minutes: int = Field(
        60,
        ge=0,
        le=2880,
        description="Minutes for which a task's run keeps ECS from stopping its worker; 0 for none.",
    )
    protection_after: float = Field(10.0, ge=0.1, le=600, description="Seconds that a run must have taken for that.")
    result_expires: int = _by_environment(DAY, 7 * DAY)
    soft_time_limit: int = Field(3300, ge=1, description="Seconds until a task is asked to end.")
    time_limit: int = Field(3600, ge=1, description="Seconds until its process is killed.")
    max_tasks_per_child: int = Field(1000, ge=1, description="Tasks until a pool process is replaced.")
    message_limit: int = Field(
        16 * 1024 * 1024, ge=1024, description="Bytes of a message's body above which it is dead instead of run."
    )
    breaker_failures: int = Field(5, ge=1, le=1000, description="Failures in a row that open a circuit breaker.")
    breaker_seconds: float = Field(60.0, ge=0.1, le=3600, description="Seconds until an open one lets a call try.")
    allow_pickle: bool = Field(False, description="Accept pickled messages: whoever can publish can run any code.")
    signing_directory: SigningDirectory | None = Field(None, description="Keys to sign messages with, and to trust.")

    letters_table: str | None = Field(None, description="DynamoDB table that keeps dead letters.")
    letters_bucket: str | None = Field(
        None, validate_default=True, description="S3 bucket for those that are too large for the table."
    )
    letters_file: Path | None = Field(None, description="SQLite file that keeps dead letters where there is no table.")
    letters_days: int = Field(90, ge=1, le=3650, description="Days for which they are kept.")

    wait_for: SpaceList = Field(
        (), repr=False, description="What else must answer before the worker starts: URLs, separated by spaces."
    )
    startup_timeout: int = Field(110, ge=1, le=3600, description="Seconds to wait for all that at start.")
    purge_on_start: bool = Field(
        False, validate_default=True, description="Empty the worker's queues when it starts; never in prod."
    )
    health_host: Literal["127.0.0.1", "0.0.0.0"] = Field(  # noqa: S104  for a Prometheus that reads it from outside
        "127.0.0.1", description="Where the health endpoint listens."
    )
    health_port: int = Field(0, ge=0, le=65535, description="Its port; 0 takes any that is free.")
    health_patience: int = Field(
        150, ge=5, le=3600, description="Seconds for which the worker may stand still until it is unhealthy."
    )

    flower_host: Literal["127.0.0.1", "0.0.0.0"] = Field(  # noqa: S104  for a proxy in front of it
        "127.0.0.1", description="Where Flower listens."
    )
    flower_port: int = Field(fleet.FLOWER_PORT, ge=0, le=65535, description="Its port; 0 takes any that is free.")
    flower_password: SecretStr | None = Field(None, description=f"Password of its user, {fleet.FLOWER_USER}.")
    flower_read_only: bool = _by_environment(False, True)
    flower_events: bool = Field(True, description="Let workers tell it about each task.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _by_environment("DEBUG", "INFO")
    log_format: Literal["text", "json"] = _by_environment("text", "json")
    aws_region: str | None = Field(None, description="Region of CloudWatch; without it the AWS_* variables decide.")

    @field_validator("queues")
    @classmethod
    def _known_queues(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not names:
            raise ValueError("name at least one queue")
        # The table is in the order in which a worker looks at its queues.
        known = [queue.name for queue in info.data.get("queue_table", ())]
        unknown = [name for name in names if name not in known]
        if unknown and known:
            raise ValueError(f"unknown queue {', '.join(unknown)}; the queues are {', '.join(known)}")
        return tuple(name for name in known if name in names)

    @field_validator("autoscale_min")
    @classmethod
    def _autoscale_fits(cls, minimum: int | None, info: ValidationInfo) -> int | None:
        if minimum is not None and info.data.get("pool", "prefork") != "prefork":
            raise ValueError(f"only the prefork pool scales itself, not {info.data['pool']}")
        if minimum is not None and minimum > info.data.get("concurrency", minimum):
            raise ValueError(f"{minimum} is more than FLEET_CONCURRENCY={info.data['concurrency']}")
        return minimum

    @field_validator("task_modules")
    @classmethod
    def _module_names(cls, modules: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in modules if not _MODULE.fullmatch(name)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} is not the dotted name of a module")
        return modules

    @field_validator("redis_auth")
    @classmethod
    def _tokens_need_tls(cls, auth: str, info: ValidationInfo) -> str:
        if auth == "iam" and not info.data.get("redis_tls", True):
            raise ValueError("iam needs FLEET_REDIS_TLS=true")
        return auth

    @field_validator("redis_username", "result_redis_username")
    @classmethod
    def _iam_has_user(cls, user: str | None, info: ValidationInfo) -> str | None:
        if not user and _signs(info):
            raise ValueError("FLEET_REDIS_AUTH=iam needs the user's name, which is its id")
        return user

    @field_validator("redis_password", "result_redis_password")
    @classmethod
    def _user_needs_password(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        user = str(info.field_name).replace("password", "username")
        if password is not None and info.data.get("redis_auth") == "iam":
            raise ValueError("FLEET_REDIS_AUTH=iam has no password; unset it")
        if password is None and info.data.get(user) and info.data.get("redis_auth") == "password":
            raise ValueError(f"{PREFIX}{user.upper()} is set, so the password must be set too")
        return password

    @field_validator("redis_group", "result_redis_group")
    @classmethod
    def _iam_has_group(cls, group: str | None, info: ValidationInfo) -> str | None:
        if not group and _signs(info):
            raise ValueError("FLEET_REDIS_AUTH=iam signs for the replication group; name its id")
        if group and info.data.get("redis_auth") == "password":
            raise ValueError("it has no use without FLEET_REDIS_AUTH=iam")
        return group

    @field_validator("redis_ca_file")
    @classmethod
    def _readable_ca(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and not info.data.get("redis_tls", True):
            raise ValueError("it has no use without FLEET_REDIS_TLS=true")
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError(f"cannot read {path}")
        return path

    @field_validator("letters_bucket")
    @classmethod
    def _table_and_bucket(cls, bucket: str | None, info: ValidationInfo) -> str | None:
        if (bucket is None) != (info.data.get("letters_table") is None):
            raise ValueError("FLEET_LETTERS_TABLE and FLEET_LETTERS_BUCKET go together: set both or none")
        return bucket

    @field_validator("letters_file")
    @classmethod
    def _one_store(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("letters_table") is not None:
            raise ValueError("FLEET_LETTERS_TABLE is set, and letters are kept in one place")
        return file

    @field_validator("time_limit")
    @classmethod
    def _hard_after_soft(cls, limit: int, info: ValidationInfo) -> int:
        if limit <= info.data.get("soft_time_limit", 0):
            raise ValueError(f"must be above FLEET_SOFT_TIME_LIMIT={info.data['soft_time_limit']}")
        return limit

    @field_validator("wait_for")
    @classmethod
    def _known_dependencies(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for number, url in enumerate(urls, 1):
            # An address may hold a password, so it is named by its place.
            if problem := address_problem(url):
                raise ValueError(f"address {number}: {problem}")
        return urls

    @field_validator("purge_on_start")
    @classmethod
    def _never_in_prod(cls, purge: bool, info: ValidationInfo) -> bool:
        if purge and info.data.get("environment") == "prod":
            raise ValueError("refused in prod: every start of a worker would throw away its queues' tasks")
        return purge

    @field_validator("flower_password")
    @classmethod
    def _long(cls, password: SecretStr | None) -> SecretStr | None:
        if password is not None and len(password.get_secret_value()) < MIN_PASSWORD:
            raise ValueError(f"has less than {MIN_PASSWORD} characters: it could be guessed")
        return password

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @property
    def known_secrets(self) -> list[str]:
        """Every secret among the settings, in clear: what must not be shown."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Every queue of the stack, the dead letters' too."""
        return tuple(queue.name for queue in self.queue_table)

    @property
    def partitions(self) -> dict[str, int]:
        """The transport option: into how many parts which queues are split."""
        return {queue.name: queue.partitions for queue in self.queue_table if queue.partitions > 1}

    @property
    def broker_url(self) -> str:
        """Celery's broker URL, with a password in it."""
        return self._url(self.redis_host, self.redis_port, self.redis_username, self.redis_password)

    @property
    def result_url(self) -> str:
        """Celery's result backend URL: the broker's cluster unless the results have their own."""
        if self.result_redis_host is None:
            return self.broker_url
        user, password = self.result_redis_username, self.result_redis_password
        if password is None:
            user, password = self.redis_username, self.redis_password
        return self._url(self.result_redis_host, self.result_redis_port, user, password)

    def _url(self, host: str, port: int, user: str | None, password: SecretStr | None) -> str:
        scheme = "redisclusters" if self.redis_tls else "rediscluster"
        credentials = ""
        if password is not None:
            credentials = f"{quote(user or '', safe='')}:{quote(password.get_secret_value(), safe='')}@"
        return f"{scheme}://{credentials}{host}:{port}"


def _signs(info: ValidationInfo) -> bool:
    """Whether IAM signs for the cluster that a field is about."""
    about_results = str(info.field_name).startswith("result_")
    return info.data.get("redis_auth") == "iam" and not (about_results and info.data.get("result_redis_host") is None)


def variables() -> dict[str, str]:
    """Every variable the service knows, with the field it sets."""
    return {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}


def load_settings() -> Settings:
    """Read and validate the settings of this process.

    Raises:
        SettingsError: Some are wrong or unknown; it names all of them.
    """
    known = variables()
    given = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    # pydantic-settings passes over variables it does not know: a misspelt name would silently do nothing.
    problems = [_unknown(name, known) for name in sorted(given - set(known))]
    try:
        settings = Settings()
    except ValidationError as error:
        problems += [_sentence(dict(detail)) for detail in error.errors() if detail["type"] != _NOT_CALLED]
    if problems:
        raise SettingsError(problems)
    if settings.allow_pickle:
        warnings.warn("FLEET_ALLOW_PICKLE: whoever can publish a message can run any code", stacklevel=2)
    return settings


def settings_or_exit() -> Settings:
    """The settings of this process; wrong ones end it with one line each and no traceback."""
    try:
        return load_settings()
    except SettingsError as error:
        exit_with(error)


def exit_with(error: SettingsError) -> NoReturn:
    """End the process because of wrong settings."""
    for problem in error.problems:
        print(problem, file=sys.stderr)
    sys.exit(EXIT_CONFIG)


def _unknown(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name}: there is no such setting" + (f"; did you mean {close[0]}?" if close else "")


def _sentence(detail: dict[str, Any]) -> str:
    field = str(detail["loc"][0])
    message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should", "should", 1)
    secret = "password" in field
    value = "" if secret or detail["type"] == "value_error" else f", not {detail['input']!r}"
    return f"{PREFIX}{field.upper()}: {message}{value}"
