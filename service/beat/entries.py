"""Every periodic task of this process: those of the stack, and those of the task modules' code."""

from __future__ import annotations

import copy
import difflib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import BaseSchedule
from celery.schedules import schedule as Interval  # noqa: N812  a class that Celery writes small

from service.beat.due import moment, next_due, step_of
from service.rediscluster.kept import published_as
from service.settings import SettingsError

#: What ids of ticks are made from.
_NAMESPACE: Final = uuid.UUID("5c0b5a8c-6f0e-4b39-9d43-6d7f3a1f0c11")


@dataclass(frozen=True)
class Entry:
    """A periodic task.

    Attributes:
        name: Its name, which no other has.
        queue: Where its ticks go.
        schedule: When it is due; belongs to one thread.
        celery: What Celery makes of it.
    """

    name: str
    queue: str
    schedule: Any
    celery: Any

    @property
    def lane(self) -> str:
        """Under which name its queue remembers the last tick."""
        return f"tick:{self.name}"


def task_id_of(name: str, due: int) -> str:
    """The id of the task that an entry's tick becomes: the same for everybody."""
    return str(uuid.uuid5(_NAMESPACE, f"{name} {due}"))


def publish(app: Celery, entry: Entry, due: int) -> None:
    """Publish an entry's tick, unless its queue has had it.

    Args:
        app: The app.
        entry: The entry.
        due: Since when it is due, Unix time in milliseconds.

    Raises:
        celery.beat.SchedulingError: It may or may not have been published; repeating is safe.
    """
    options = {"task_id": task_id_of(entry.name, due), **published_as(entry.lane, due)}
    _send(app, entry, options, {"beat_due": moment(due).isoformat()})


def run_now(app: Celery, entry: Entry) -> str:
    """Publish an entry's task outside its schedule; returns the task's id. Raises as `publish`."""
    task_id = str(uuid.uuid4())
    _send(app, entry, {"task_id": task_id}, {})
    return task_id


def _send(app: Celery, entry: Entry, options: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    whole = copy.copy(entry.celery)
    whole.options = {
        **entry.celery.options,
        **options,
        "queue": entry.queue,
        "headers": {**entry.celery.options.get("headers", {}), "beat_entry": entry.name, **headers},
        # Who calls repeats it, as long as it may.
        "retry": False,
    }
    Scheduler(app, lazy=True).apply_async(whole, advance=False)


def load(app: Celery, declared: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    """Import the task modules and check every entry.

    Args:
        app: The app.
        declared: The stack's entries, as Celery's `beat_schedule` has them.

    Raises:
        SettingsError: Some are wrong; it names all of them.
    """
    app.loader.import_default_modules()
    app.finalize()
    # Modules are imported when the app is configured, and perhaps finalized, long since: what they want to do then is
    # done now. A handler that is called twice adds the same entries twice, which is once.
    app.on_after_configure.send(sender=app, source=app.conf)
    app.on_after_finalize.send(sender=app)
    in_code = dict(app.conf.beat_schedule)
    problems = [
        f"schedules.{name}: declared in the stack and in code; keep one, or name one differently"
        for name in sorted(set(in_code) & set(declared))
    ]
    entries = []
    for name, given in {**in_code, **declared}.items():
        where = f"schedules.{name}" if name in declared else f"beat_schedule[{name!r}]"
        try:
            entries.append(_entry(app, name, given))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise SettingsError(problems)
    return entries


def _entry(app: Celery, name: str, given: Mapping[str, Any]) -> Entry:
    # The stubs let much be None that is not.
    celery: Any = ScheduleEntry(**{**given, "name": name, "app": app})
    if not isinstance(celery.schedule, BaseSchedule):
        raise TypeError(f"{celery.schedule!r} is no schedule: give seconds, a timedelta, or one of celery.schedules")
    schedule = _copy(celery.schedule)
    if isinstance(celery.schedule, Interval):
        if step_of(schedule) < 1:
            raise ValueError(f"{schedule.run_every} is no interval; at least a millisecond")
    else:
        try:
            next_due(schedule, 0)
        except NotImplementedError as error:
            raise TypeError(f"{schedule!r} does not say when it is due: it needs remaining_estimate()") from error
    if celery.task not in app.tasks:
        close = difflib.get_close_matches(str(celery.task), app.tasks, n=1)
        raise ValueError(
            f"no task module has a task {celery.task!r}" + (f"; did you mean {close[0]}?" if close else "")
        )
    return Entry(name, _queue(app, celery), schedule, celery)


def _copy(schedule: Any) -> Any:
    """A schedule of the caller's own, in the same time zone."""
    own = copy.copy(schedule)
    # Celery makes a copy from what the constructor was given: what was set later is not in it.
    own.app, own.nowfun = schedule.app, schedule.nowfun
    if "tz" in vars(schedule):
        own.tz = schedule.tz
    return own


def _queue(app: Celery, entry: Any) -> str:
    task: Any = app.tasks[entry.task]
    options = {**{k: v for k, v in task._get_exec_options().items() if v is not None}, **entry.options}
    queue = options.get("queue") or app.amqp.router.route(options, entry.task, entry.args, entry.kwargs).get("queue")
    name = str(getattr(queue, "name", queue))
    known = [queue.name for queue in app.conf.task_queues]
    if name not in known:
        raise ValueError(f"{name!r} is no queue; the queues are {', '.join(known)}")
    return name
