"""Periodic tasks as the stack declares them: `FLEET_SCHEDULES`, JSON of name to entry."""

from __future__ import annotations

import json
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from celery.schedules import ParseException, crontab
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from service.settings import SettingsError

#: In which order a cron entry's fields are written.
FIELDS = 5


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is no time zone that this image knows; one is Europe/Berlin") from None
    return name


def _cron(text: str) -> str:
    cron(text)
    return text


def cron(text: str) -> crontab:
    """Celery's schedule for `minute hour day-of-month month day-of-week`.

    Raises:
        ValueError: It is none.
    """
    fields = text.split()
    if len(fields) != FIELDS:
        raise ValueError(f"{text!r} has {len(fields)} fields; expected: minute hour day-of-month month day-of-week")
    try:
        return crontab.from_string(" ".join(fields))
    except ParseException as error:
        raise ValueError(f"{text!r}: {error}") from error


class Declared(BaseModel):
    """One entry; see docs/periodic-tasks.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    task: str = Field(min_length=1)
    queue: str | None = None
    every: int | None = Field(None, ge=1)
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    expires: int | None = Field(None, ge=1)
    priority: int | None = Field(None, ge=0, le=10)

    @model_validator(mode="after")
    def _one_schedule(self) -> Declared:
        if (self.every is None) == (self.cron is None):
            raise ValueError("give one of every and cron")
        if self.timezone is not None and self.cron is None:
            raise ValueError("timezone goes with cron")
        return self

    def entry(self) -> dict[str, Any]:
        """As Celery's `beat_schedule` has it."""
        options = {"queue": self.queue, "expires": self.expires, "priority": self.priority}
        return {
            "task": self.task,
            "schedule": self._schedule(),
            "args": tuple(self.args),
            "kwargs": self.kwargs,
            "options": {name: value for name, value in options.items() if value is not None},
        }

    def _schedule(self) -> Any:
        if self.cron is None:
            return self.every
        schedule = cron(self.cron)
        if self.timezone is not None:
            schedule.tz = ZoneInfo(self.timezone)  # type: ignore[assignment, misc] # cached, so it can be set
        return schedule


_ALL = TypeAdapter(dict[str, Declared])


def parse(text: str) -> dict[str, dict[str, Any]]:
    """The entries of `FLEET_SCHEDULES`, as Celery's `beat_schedule` has them; none of an empty text.

    Raises:
        SettingsError: Some are wrong; it names all of them.
    """
    if not text:
        return {}
    try:
        return {name: declared.entry() for name, declared in _ALL.validate_python(json.loads(text)).items()}
    except json.JSONDecodeError as error:
        raise SettingsError([f"FLEET_SCHEDULES: no JSON: {error}"]) from error
    except ValidationError as error:
        raise SettingsError([_sentence(dict(detail)) for detail in error.errors()]) from error


def _sentence(detail: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    return f"FLEET_SCHEDULES: {path}: {str(detail['msg']).removeprefix('Value error, ')}"
