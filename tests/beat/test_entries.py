"""What is declared, in the stack and in code, and what is said of mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import BaseSchedule, crontab

from service.app import create_app
from service.beat.declared import parse
from service.beat.due import moment, next_due
from service.beat.entries import Entry, load, task_id_of
from service.settings import Settings, SettingsError

PROBE = "service.tasks.monitoring.probe_host"


@pytest.fixture
def app() -> Iterator[Celery]:
    made = create_app(Settings(task_modules=("service.tasks",)))
    yield made
    made.close()


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    return caught.value.problems


def test_nothing_declared_is_nothing() -> None:
    assert parse("") == {}


def test_every_mistake_is_named_by_its_path() -> None:
    text = {
        "a": {"task": PROBE},
        "b": {"task": PROBE, "every": 1, "cron": "* * * * *"},
        "c": {"task": PROBE, "cron": "61 * * * *"},
        "d": {"task": PROBE, "cron": "* * * * *", "timezone": "Europe/Bonn"},
        "e": {"every": 1, "evry": 1},
    }
    assert problems(json.dumps(text)) == [
        "FLEET_SCHEDULES: a: give one of every and cron",
        "FLEET_SCHEDULES: b: give one of every and cron",
        "FLEET_SCHEDULES: c.cron: Invalid end range: 61 > 59.",
        "FLEET_SCHEDULES: d.timezone: 'Europe/Bonn' is no time zone that this image knows; one is Europe/Berlin",
        "FLEET_SCHEDULES: e.task: Field required",
        "FLEET_SCHEDULES: e.evry: Extra inputs are not permitted",
    ]
    assert problems("{")[0].startswith("FLEET_SCHEDULES: no JSON: ")


def test_an_entry_goes_where_its_task_goes_unless_it_says_otherwise(app: Celery) -> None:
    declared = {"own": {"task": PROBE, "every": 1}, "other": {"task": PROBE, "every": 1, "queue": "data_queue"}}
    entries = {entry.name: entry for entry in load(app, parse(json.dumps(declared)))}
    assert {name: entry.queue for name, entry in entries.items()} == {"own": "monitoring_queue", "other": "data_queue"}


def due_times(entry: Entry, start: str, count: int) -> list[str]:
    """Its next due times, in UTC."""
    found, at = [], int(datetime.fromisoformat(start).timestamp() * 1000)
    for _ in range(count):
        at = next_due(entry.schedule, at)
        found.append(moment(at).isoformat().removesuffix("+00:00"))
    return found


def test_a_time_zone_is_kept_also_in_summer(app: Celery) -> None:
    nightly: Any = crontab(minute="30", hour="2")
    nightly.tz = ZoneInfo("Europe/Berlin")
    app.conf.beat_schedule = {"in_code": {"task": PROBE, "schedule": nightly}}
    declared = {
        "declared": {"task": PROBE, "cron": "30 2 * * *", "timezone": "Europe/Berlin"},
        "half_hours": {"task": PROBE, "cron": "*/30 * * * *", "timezone": "Europe/Berlin"},
        "utc": {"task": PROBE, "cron": "30 2 * * *"},
    }
    entries = {entry.name: entry for entry in load(app, parse(json.dumps(declared)))}
    for name in ("declared", "in_code"):
        # The clock skips half past two on 2026-03-29, and has it twice on 2026-10-25.
        assert due_times(entries[name], "2026-03-27T12:00:00Z", 3) == [
            "2026-03-28T01:30:00",
            "2026-03-29T01:30:00",
            "2026-03-30T00:30:00",
        ]
        assert due_times(entries[name], "2026-10-24T12:00:00Z", 2) == ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]
    assert due_times(entries["half_hours"], "2026-10-25T00:00:00Z", 2) == ["2026-10-25T00:30:00", "2026-10-25T02:00:00"]
    assert due_times(entries["utc"], "2026-03-28T12:00:00Z", 2) == ["2026-03-29T02:30:00", "2026-03-30T02:30:00"]


def test_entries_that_cannot_work_are_refused_all_at_once(app: Celery) -> None:
    app.conf.beat_schedule = {
        "twice": {"task": PROBE, "schedule": 1},
        "never": {"task": PROBE, "schedule": 0},
        "half": {"task": PROBE},
        "odd": {"task": PROBE, "schedule": "5 minutes"},
        "queue": {"task": PROBE, "schedule": 1, "options": {"queue": "nowhere"}},
        "more": {"task": PROBE, "schedule": 1, "when": 1},
        # Of Celery's class for schedules as it is: it has no time of its own.
        "vague": {"task": PROBE, "schedule": BaseSchedule(app=app)},
    }
    declared = {"twice": {"task": PROBE, "every": 1}, "unknown": {"task": f"{PROBE}s", "every": 1}}
    with pytest.raises(SettingsError) as caught:
        load(app, parse(json.dumps(declared)))
    said = {line.partition(":")[0]: line for line in caught.value.problems}
    assert set(said) == {
        "schedules.twice",
        "schedules.unknown",
        *(f"beat_schedule[{name!r}]" for name in ("never", "half", "odd", "queue", "more", "vague")),
    }
    assert said["schedules.twice"].endswith("declared in the stack and in code; keep one, or name one differently")
    assert said["schedules.unknown"].endswith(f"no task module has a task '{PROBE}s'; did you mean {PROBE}?")
    assert "'nowhere' is no queue" in said["beat_schedule['queue']"]
    assert said["beat_schedule['vague']"].endswith("does not say when it is due: it needs remaining_estimate()")


SHOW = """
import json
from service.beat.process import app_and_entries
from service.settings import load_settings
_, entries = app_and_entries(load_settings())
print(json.dumps({e.name: [e.queue, repr(e.celery.schedule), list(e.celery.args)] for e in entries}))
"""


def test_every_way_that_celery_documents_works() -> None:
    """In a process of its own: importing the module changes whichever app is current."""
    variables = {"FLEET_TASK_MODULES": "tests.beat.declaring", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=variables,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found == {
        "in_conf": ["sync_queue", "<crontab: 5 * * * * (m/h/dM/MY/d)>", [1]],
        "added": ["data_queue", "<freq: 10.00 seconds>", [2]],
        "when_configured": ["data_queue", "<freq: 20.00 seconds>", [3]],
        "tests.beat.declaring.count(4)": ["data_queue", "<freq: 30.00 seconds>", [4]],
    }


def test_a_tick_has_the_same_task_id_for_everybody() -> None:
    assert task_id_of("a", 1_700_000_000_000) == task_id_of("a", 1_700_000_000_000)
    assert len({task_id_of(name, due) for name in ("a", "a 1") for due in (1000, 2000, 11000)}) == 6
