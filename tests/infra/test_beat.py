"""Periodic tasks in the stack file, and the service that publishes them."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import config
from infra.config.schedules import MAX_BYTES
from scripts.render import Render
from scripts.render.services import EcsService, services
from service import fleet
from service.beat.declared import cron, parse
from service.settings import load_settings
from tests.infra.renders import Renders

TASK = "service.tasks.monitoring.probe_host"
SCHEDULES: dict[str, Any] = {
    "probe": {"task": TASK, "every": 30, "expires": 60},
    "report": {
        "task": "service.tasks.default.digest_text",
        "cron": "*/5  8-17 * * mon-fri",
        "timezone": "Europe/Berlin",
        "queue": "data_queue",
        "priority": 9,
        "args": ["text"],
        "kwargs": {"deep": {"snake_case": [1, None]}},
    },
}


def complaints(schedules: object, **document: Any) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        config.load("staging", {**document, "schedules": schedules})
    return caught.value.problems


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "schedules.a: has neither of every (seconds) and cron; give one"),
        ({"every": 1, "cron": "* * * * *"}, "schedules.a: has both of every (seconds) and cron; give one"),
        ({"every": 0}, "schedules.a.every: 0 is wrong; it should be greater than or equal to 1"),
        ({"every": "5"}, 'schedules.a.every: "5" is wrong; it should be a valid integer'),
        ({"every": 5, "timezone": "UTC"}, "schedules.a: timezone goes with cron; an interval has none"),
        (
            {"cron": "* * * * *", "timezone": "Europe/Bonn"},
            "schedules.a.timezone: 'Europe/Bonn' is no time zone such as Europe/Berlin",
        ),
        (
            {"cron": "0 4 * *"},
            "schedules.a.cron: '0 4 * *' has 4 fields; expected: minute hour day-of-month month day-of-week",
        ),
        ({"cron": "0 24 * * *"}, "schedules.a.cron: hour '24' is not 0 to 23"),
        ({"cron": "0 0 * * 7"}, "schedules.a.cron: day of week '7' is not 0 to 6 or sun to sat"),
        ({"cron": "0 0 30 2 *"}, "schedules.a.cron: '0 0 30 2 *' is never due: no such month has such a day"),
        (
            {"cron": "5/10 * * * *"},
            "schedules.a.cron: minute '5/10' is none of *, 5, 1-5, */10, 1-30/2, or several with commas",
        ),
        ({"cron": "*/0 * * * *"}, "schedules.a.cron: minute '*/0': the step is a number from 1 on"),
        (
            {"every": 1, "queue": "data"},
            (
                "schedules.a.queue: unknown queue; known: high_priority_queue, sync_queue, workflow_queue, data_queue, "
                "monitoring_queue, celery, dead_letter"
            ),
        ),
        (
            {"evry": 1},
            (
                "schedules.a.evry: unknown key; known here: task, queue, every, cron, timezone, args, kwargs, expires, "
                "priority"
            ),
        ),
    ],
)
def test_a_wrong_entry_is_named_by_its_path(entry: dict[str, Any], problem: str) -> None:
    assert problem in complaints({"a": {"task": TASK, **entry}})


def test_all_wrong_entries_are_named_at_once() -> None:
    found = complaints({"a": {"task": TASK, "every": 0}, "b": {"every": 1}, "c d": {"task": TASK, "every": 1}})
    assert [line.split(":")[0] for line in found] == ["schedules.a.every", "schedules.b.task", "schedules.c d"]


def test_more_than_a_task_definition_holds_is_refused() -> None:
    (problem,) = complaints({"a": {"task": TASK, "every": 1, "args": ["x" * MAX_BYTES]}})
    assert problem.startswith("schedules: ")
    assert problem.endswith(f"at most {MAX_BYTES} fit into a task definition, declare some in a task module")


def test_an_entry_goes_to_a_queue_that_the_stack_has() -> None:
    queues = {"reports": {"priority": 3}, "data_queue": {"enabled": False}}
    own, off = ({"task": TASK, "every": 1, "queue": name} for name in ("reports", "data_queue"))
    assert config.load("staging", {"queues": queues, "schedules": {"a": own}}).schedules["a"].queue == "reports"
    (problem,) = complaints({"a": own, "b": off}, queues=queues)
    assert problem.startswith("schedules.b.queue: unknown queue; known: ")


def test_entries_need_somebody_to_publish_them() -> None:
    assert complaints({"a": {"task": TASK, "every": 1}}, beat={"enabled": False}) == [
        "schedules: are declared, but beat.enabled is false: nobody would publish them"
    ]


def part(first: int, last: int) -> st.SearchStrategy[str]:
    """A part of a cron field."""
    number = st.integers(first, last).map(str)
    span = st.tuples(number, number).map("-".join)
    stepped = st.tuples(st.just("*") | span, st.integers(1, 70).map(str)).map("/".join)
    return st.lists(st.just("*") | number | span | stepped, min_size=1, max_size=3).map(",".join)


@given(st.tuples(part(0, 59), part(0, 23), part(1, 31), part(1, 12), part(0, 6)).map(" ".join))
def test_what_the_stack_accepts_celery_understands(text: str) -> None:
    try:
        fleet = config.load("staging", {"schedules": {"a": {"task": TASK, "cron": text}}})
    except config.ConfigError:
        with pytest.raises(ValueError, match=r"."):
            cron(text)
    else:
        read: Any = cron(fleet.schedules["a"].cron or "")
        assert read.minute


@pytest.fixture(scope="module")
def scheduled(renders: Renders) -> Render:
    environment = {"environment": {"SHOP": "eu"}}
    return renders.of(
        "prod", {"schedules": SCHEDULES, "beat": environment, "taskModules": ["service.tasks", "shop.mail"]}
    )


def beat_of(stack: Render) -> EcsService:
    (found,) = (service for service in services(stack) if service.role == "beat")
    return found


def test_the_beat_gets_what_was_declared(scheduled: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    beat = beat_of(scheduled)
    assert (beat.command, beat.desired_count) == (("python", "-m", "service", "beat"), 2)
    assert beat.environment["FLEET_TASK_MODULES"] == "service.tasks,shop.mail"
    assert beat.environment["SHOP"] == "eu"
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        monkeypatch.delenv(name)
    for name, value in {**beat.environment, **dict.fromkeys(beat.secrets, "secret")}.items():
        monkeypatch.setenv(name, value)
    read = parse(load_settings().schedules)
    assert set(read) == set(SCHEDULES)
    report = read["report"]
    assert (report["args"], report["kwargs"]) == (("text",), SCHEDULES["report"]["kwargs"])
    assert report["options"] == {"queue": "data_queue", "priority": 9}
    assert str(report["schedule"].tz) == "Europe/Berlin"
    assert report["schedule"].day_of_week == {1, 2, 3, 4, 5}
    assert read["probe"] | {"schedule": 30} == {
        "task": TASK,
        "schedule": 30,
        "args": (),
        "kwargs": {},
        "options": {"expires": 60},
    }


def test_nobody_else_is_told(scheduled: Render) -> None:
    told = [service.role for service in services(scheduled) if "FLEET_SCHEDULES" in service.environment]
    assert told == ["beat"]


def test_its_alarms_tell_people_and_roll_back(stack: Render) -> None:
    service = stack.one("ecs/service:Service", "beat")
    topic = stack.outputs["alarmTopic"]
    for name, metric in (("beat-silent", fleet.METRIC_BEAT_AGE), ("beat-late", fleet.METRIC_SCHEDULE_LATE)):
        alarm = stack.one("metricAlarm:MetricAlarm", name).inputs
        assert (alarm["metricName"], alarm["dimensions"]) == (metric, {"Stack": stack.stack})
        assert alarm["alarmActions"] == alarm["okActions"] == [topic]
        assert alarm["name"] in service.inputs["alarms"]["alarmNames"]
    board = stack.one("cloudwatch/dashboard:Dashboard").inputs["dashboardBody"]
    shown = {metric[1] for widget in json.loads(board)["widgets"] for metric in widget["properties"].get("metrics", [])}
    assert {fleet.METRIC_BEAT_AGE, fleet.METRIC_SCHEDULE_LATE} <= shown


@pytest.mark.slow
def test_a_stack_can_do_without(renders: Renders) -> None:
    without = renders.named("no-beat")
    assert not [service for service in services(without) if service.role == "beat"]
    assert not [alarm for alarm in without.of_type("metricAlarm:MetricAlarm") if alarm.name.startswith("beat")]
    assert fleet.METRIC_BEAT_AGE not in without.one("cloudwatch/dashboard:Dashboard").inputs["dashboardBody"]
