"""The configuration of periodic tasks: what is due when, and the service that publishes it.

Checked without Celery: what passes here Celery accepts, as tests/beat says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from infra.config.fields import Section, matching
from infra.config.queues import QueueName, SecretArn, Variable, only_once
from infra.config.tasks import Task

#: ECS takes task definitions up to 64 KiB; the rest of one needs a few.
MAX_BYTES: Final = 48 * 1024

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Days of each month, in a leap year.
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART: Final = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\w+))?")


class _Range(NamedTuple):
    """A field of a cron entry: its name, its first and last number, and names for the numbers from the first on."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_FIELDS: Final = (
    _Range("minute", 0, 59),
    _Range("hour", 0, 23),
    _Range("day of month", 1, 31),
    _Range("month", 1, 12, _MONTHS),
    _Range("day of week", 0, 6, _DAYS),
)


def _number(text: str, field: _Range) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.first
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    if not text.isdecimal() or not field.first <= int(text) <= field.last:
        raise ValueError(f"{field.name} {text!r} is not {field.first} to {field.last}{names}")
    return int(text)


def _numbers(text: str, field: _Range) -> set[int]:
    """The numbers that a field allows."""
    found: set[int] = set()
    for part in text.split(","):
        parsed = _PART.fullmatch(part)
        if not parsed or (parsed[4] and not (parsed[1] or parsed[3])):
            raise ValueError(f"{field.name} {part!r} is none of *, 5, 1-5, */10, 1-30/2, or several with commas")
        if parsed[4] and (not parsed[4].isdecimal() or int(parsed[4]) < 1):
            raise ValueError(f"{field.name} {part!r}: the step is a number from 1 on")
        first = field.first if parsed[1] else _number(parsed[2], field)
        last = field.last if parsed[1] else _number(parsed[3] or parsed[2], field)
        # From Friday to Monday leads over the end.
        over = last + (field.last - field.first + 1 if last < first else 0)
        size = field.last - field.first + 1
        found |= {(n - field.first) % size + field.first for n in range(first, over + 1)[:: int(parsed[4] or 1)]}
    return found


def _cron(text: str) -> str:
    words = text.split()
    if len(words) != len(_FIELDS):
        raise ValueError(f"{text!r} has {len(words)} fields; expected: minute hour day-of-month month day-of-week")
    _, _, days, months, _ = (_numbers(word, field) for word, field in zip(words, _FIELDS, strict=True))
    if not any(day <= _LENGTHS[month - 1] for day in days for month in months):
        raise ValueError(f"{text!r} is never due: no such month has such a day")
    return " ".join(words)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is no time zone such as Europe/Berlin") from None
    return name


ScheduleName = Annotated[
    str, matching(r"[A-Za-z0-9][\w.-]{0,99}", "a name of letters, digits, _, - and ., at most 100 characters")
]
TaskName = Annotated[str, matching(r"\w+(\.\w+)*", "a task's name such as shop.sync.prices.pull")]


class Schedule(Section):  # type: ignore[no-redef] # pydantic's plugin calls a parameter of its own kwargs
    """A periodic task.

    Attributes:
        task: The task's name.
        queue: Where its ticks go; where the task goes unless given.
        every: Seconds between two ticks.
        cron: Minute, hour, day of month, month, day of week; all must fit.
        timezone: In which `cron` is meant; UTC unless given.
        args: The task's arguments.
        kwargs: The task's keyword arguments.
        expires: Seconds after which a tick that no worker has taken is not run any more.
        priority: 0-10; the queue's unless given.
    """

    task: TaskName
    queue: QueueName | None = None
    every: int | None = Field(default=None, ge=1)
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = Field(default_factory=dict)
    expires: int | None = Field(default=None, ge=1)
    priority: int | None = Field(default=None, ge=0, le=10)

    @model_validator(mode="after")
    def _one_schedule(self) -> Schedule:
        if (self.every is None) == (self.cron is None):
            given = "both" if self.every is not None else "neither"
            raise ValueError(f"has {given} of every (seconds) and cron; give one")
        if self.timezone is not None and self.cron is None:
            raise ValueError("timezone goes with cron; an interval has none")
        return self


def text_of(schedules: Mapping[str, Schedule]) -> str:
    """Return schedules as the service reads them: JSON, without what nobody set."""
    written = {
        name: schedule.model_dump(exclude_unset=True, by_alias=True, mode="json")
        for name, schedule in schedules.items()
    }
    return json.dumps(written, separators=(",", ":"), sort_keys=True)


def _fits(schedules: dict[str, Schedule]) -> dict[str, Schedule]:
    # In the task definition it is text, its quotes escaped.
    size = len(json.dumps(text_of(schedules)))
    if size > MAX_BYTES:
        raise ValueError(
            f"{size} bytes as JSON; at most {MAX_BYTES} fit into a task definition, declare some in a task module"
        )
    return schedules


Schedules = Annotated[dict[ScheduleName, Schedule], AfterValidator(_fits)]


def unknown_queues(whole: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the queues that entries name, given the whole document: the stack must have them.

    What is wrong with the document itself is told by others.
    """
    queues, schedules = whole.get("queues"), whole.get("schedules")
    if not isinstance(queues, dict) or not isinstance(schedules, dict):
        return []
    known = [name for name, queue in queues.items() if not (isinstance(queue, dict) and queue.get("enabled") is False)]
    return [
        f"schedules.{name}.queue: unknown queue; known: {', '.join(known)}"
        for name, entry in schedules.items()
        if isinstance(entry, dict) and entry.get("queue") is not None and entry["queue"] not in known
    ]


class Beat(Task):
    """The service that publishes periodic tasks.

    Attributes:
        enabled: Whether there is one.
        environment: Further environment variables, for the task modules that it imports.
        secrets: Further environment variables from Secrets Manager: variable -> ARN.
    """

    enabled: bool
    environment: dict[Variable, str]
    secrets: Annotated[dict[Variable, SecretArn], AfterValidator(only_once)]
