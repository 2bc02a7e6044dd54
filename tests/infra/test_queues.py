"""Queues are data of the stack file: one that is added is complete, one that is switched off is gone."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from infra import config
from infra.plan.deployment import running_limit
from scripts.checks.aws_model import pascal, problems
from scripts.render import Render
from scripts.render.services import services
from service import fleet, queues
from service.rediscluster.options import MAX_PARTITIONS
from service.settings import load_settings
from tests.infra.configurations import CONFIGURATIONS
from tests.infra.renders import Renders

NEW = "reports_queue"
OFF = "monitoring_queue"
DOCUMENT = CONFIGURATIONS["extra-queue"].overrides or {}


def complaints(queue: dict[str, Any], name: str = "data_queue", stack: str = "staging") -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        config.load(stack, {"queues": {name: queue}})
    return caught.value.problems


@pytest.fixture(scope="module")
def changed(renders: Renders) -> Render:
    return renders.named("extra-queue")


def of_queue(stack: Render, part: str) -> dict[str, list[str]]:
    """Types of the resources of a queue, with their names in which the queue's own part is a star."""
    found: dict[str, list[str]] = {}
    for resource in stack.resources:
        if part in resource.name:
            found.setdefault(resource.type, []).append(resource.name.replace(part, "*"))
    return {kind: sorted(names) for kind, names in found.items()}


def test_a_new_queue_has_everything_that_a_built_in_one_has(changed: Render) -> None:
    new, old = of_queue(changed, "reports-queue"), of_queue(changed, "data-queue")
    assert new.pop("aws:appautoscaling/scheduledAction:ScheduledAction") == ["*-schedule-1", "*-schedule-2"]
    assert new == old
    for kind in ("ecs/service:Service", "logGroup:LogGroup", "role:Role", "target:Target", "metricAlarm:MetricAlarm"):
        assert any(kind in full for full in new), kind
    board = changed.one("cloudwatch/dashboard:Dashboard").inputs["dashboardBody"]
    assert board.count(NEW) == board.count("data_queue")


def test_a_queue_that_is_switched_off_is_nowhere(changed: Render) -> None:
    assert not of_queue(changed, "monitoring-queue")
    for resource in changed.resources:
        assert OFF not in json.dumps(resource.inputs), resource.urn


def test_every_process_gets_the_same_table(changed: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {service.environment["FLEET_QUEUE_TABLE"] for service in services(changed)}
    (table,) = {*tables, changed.outputs["queueTable"]}
    read = {queue.name: (queue.priority, queue.partitions) for queue in queues.parse(table)}
    assert read == {
        "high_priority_queue": (10, 1),
        "sync_queue": (7, 1),
        "workflow_queue": (6, 1),
        "data_queue": (5, 1),
        NEW: (4, 3),
        "celery": (2, 1),
        "dead_letter": (0, 1),
    }
    (worker,) = (service for service in services(changed) if service.queue == NEW)
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        monkeypatch.delenv(name)
    for name, value in {**worker.environment, **dict.fromkeys(worker.secrets, "x" * 48)}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.queues, settings.pool, settings.concurrency) == ((NEW,), "threads", 20)
    assert (settings.partitions, settings.protection_minutes) == ({NEW: 3}, 15)


def test_the_limit_of_parts_is_the_transports() -> None:
    assert fleet.MAX_PARTITIONS == MAX_PARTITIONS


def test_spot_is_above_the_base_that_must_survive(changed: Render) -> None:
    service = changed.one("ecs/service:Service", "reports-queue").inputs
    assert service["capacityProviderStrategies"] == [
        {"capacityProvider": "FARGATE", "base": 4, "weight": 40},
        {"capacityProvider": "FARGATE_SPOT", "weight": 60},
    ]


def test_a_deployment_moves_at_every_hour_of_the_schedule(changed: Render) -> None:
    service = changed.one("ecs/service:Service", "reports-queue").inputs
    assert service["desiredCount"] == 4
    for tasks in range(1, 41):
        assert running_limit(tasks, service["deploymentMaximumPercent"]) > tasks
    assert service["deploymentMinimumHealthyPercent"] == 100


def test_the_schedule_sets_other_bounds(changed: Render) -> None:
    actions = changed.of_type("appautoscaling/scheduledAction:ScheduledAction")
    assert [action.inputs["schedule"] for action in actions] == ["cron(0 20 ? * * *)", "at(2026-12-24T08:00:00)"]
    assert [action.inputs["timezone"] for action in actions] == ["Europe/Berlin", "UTC"]
    assert [action.inputs["scalableTargetAction"] for action in actions] == [
        {"minCapacity": 1, "maxCapacity": 10},
        {"minCapacity": 6, "maxCapacity": 40},
    ]
    target = changed.one("appautoscaling/target:Target", "reports-queue")
    for action in actions:
        assert target.urn in action.dependencies
        inputs = dict(action.inputs)
        params = {"ScheduledActionName": inputs.pop("name"), **pascal(inputs)}
        assert problems("application-autoscaling", "PutScheduledAction", params) == []


def test_the_target_latency_decides_when_tasks_are_added(changed: Render) -> None:
    """30 s with 20 at a time of 2 s each: 300 messages for each task."""
    alarm = changed.one("MetricAlarm", "reports-queue-scale-out-age")
    assert alarm.inputs["threshold"] == 30
    policy = changed.one("appautoscaling/policy:Policy", "reports-queue-backlog")
    assert policy.inputs["targetTrackingScalingPolicyConfiguration"]["targetValue"] == 300


def test_a_fixed_number_with_a_schedule_has_bounds_and_no_policies() -> None:
    given = {"min": 3, "max": 3, "schedule": [{"cron": "0 8 ? * * *", "min": 5, "max": 5}]}
    queue = config.load("prod", {"queues": {"data_queue": given}}).queues["data_queue"]
    assert (queue.room, queue.fewest) == (0, 3)


@pytest.mark.parametrize(
    ("queue", "problem"),
    [
        ({"pool": "forks"}, "queues.data_queue.pool: \"forks\" is wrong; it should be 'prefork', 'gevent', "),
        ({"priority": 11}, "queues.data_queue.priority: 11 is wrong; it should be less than or equal to 10"),
        ({"partitions": 65}, "queues.data_queue.partitions: 65 is wrong; it should be less than or equal to 64"),
        ({"pool": "solo", "concurrency": 2}, "queues.data_queue.concurrency: 2 does not fit the solo pool"),
        ({"pool": "threads", "autoscaleMin": 1}, "queues.data_queue.autoscaleMin: only the prefork pool shrinks"),
        ({"pool": "gevent", "softTimeLimit": 5}, "queues.data_queue.softTimeLimit: 5 would not be kept by the gevent"),
        ({"pool": "threads", "timeLimit": 60}, "queues.data_queue.timeLimit: 60 would not be kept by the threads pool"),
        (
            {"pool": "solo", "maxTasksPerChild": 9},
            "queues.data_queue.maxTasksPerChild: 9 would not be kept by the ",
        ),
        ({"timeLimit": None}, "queues.data_queue.timeLimit: the prefork pool needs a number here"),
        ({"taskSeconds": 9, "timeLimit": 8}, "queues.data_queue.taskSeconds: 9.0 is more than timeLimit 8"),
        (
            {"spot": {"percent": 50}},
            "queues.data_queue.spot: percent 50: tasks may take 3600 s (timeLimit), and Spot ends a worker with 100 s",
        ),
        (
            {"spot": {"percent": 50}, "timeLimit": 111},
            "queues.data_queue.spot: percent 50: tasks may take 111 s (timeLimit)",
        ),
        (
            {"spot": {"percent": 50}, "pool": "threads"},
            "queues.data_queue.spot: percent 50: the threads pool keeps no timeLimit",
        ),
        (
            {"spot": {"percent": 50, "base": 9}, "idempotent": True},
            "queues.data_queue.spot: base 9 is more than max 8: no task would be on Spot",
        ),
        ({"spot": {"base": 0}}, "queues.data_queue.spot.base: 0 is wrong; it should be greater than or equal to 1"),
        ({"spot": True}, "queues.data_queue.spot: true is wrong; it should be an object"),
        (
            {"schedule": [{"cron": "0 8 ? * *", "min": 1}]},
            "queues.data_queue.schedule.0.cron: '0 8 ? * *' has 5 fields, not 6",
        ),
        (
            {"schedule": [{"corn": "0 8 ? * * *", "at": "2026-12-24T08:00:00"}]},
            "queues.data_queue.schedule.0.corn: unknown key; known here: cron, at, timezone, min, max",
        ),
        (
            {"spot": {"share": 50}},
            "queues.data_queue.spot.share: unknown key; known here: base, percent",
        ),
        ({"schedule": [{"min": 1}]}, "queues.data_queue.schedule.0.at: give either cron"),
        (
            {"schedule": [{"cron": "0 8 ? * * *", "at": "2026-12-24T08:00:00"}]},
            "queues.data_queue.schedule.0.at: give either cron",
        ),
        (
            {"schedule": [{"cron": "0 8 ? * * *", "timezone": "Mars"}]},
            "queues.data_queue.schedule.0.timezone: 'Mars' is not a time zone such as Europe/Berlin",
        ),
        (
            {"schedule": [{"cron": "0 8 ? * * *", "min": 9}]},
            "queues.data_queue.schedule.0.max: 8 is less than min 9; at least 9",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_its_path(queue: dict[str, Any], problem: str) -> None:
    (only,) = complaints(queue)
    assert only.startswith(problem)


@pytest.mark.parametrize("name", ["celery", "dead_letter"])
def test_two_queues_cannot_be_switched_off(name: str) -> None:
    (only,) = complaints({"enabled": False}, name)
    assert only.startswith(f"queues.{name}.enabled: this queue cannot be switched off")


def test_spot_is_the_default_in_staging_for_what_may_run_twice() -> None:
    def spot(stack: str, **queue: Any) -> tuple[int, int]:
        found = config.load(stack, {"queues": {"data_queue": queue}}).queues["data_queue"].spot
        return found.base, found.percent

    assert spot("staging", idempotent=True) == (1, 100)
    assert spot("staging") == (1, 0)
    assert spot("prod", idempotent=True) == (3, 0)
    assert spot("prod", min=5, spot={"percent": 30}, timeLimit=100) == (5, 30), "every task ends within the grace"


@pytest.mark.parametrize("pool", ["prefork", "gevent", "eventlet", "threads", "solo"])
def test_every_pool_has_defaults_that_it_keeps(pool: str) -> None:
    queue = config.load("prod", {"queues": {"celery": {"pool": pool}}}).queues["celery"]
    kept = {
        name for name in ("time_limit", "soft_time_limit", "max_tasks_per_child") if getattr(queue, name) is not None
    }
    assert kept == fleet.KEPT_LIMITS[queue.pool]
    assert (queue.autoscale_min is not None) == (pool == "prefork")
    assert (queue.concurrency == 1) == (pool == "solo")


def test_some_values_follow_from_others() -> None:
    queue = config.load("prod", {"queues": {"celery": {"concurrency": 1, "timeLimit": 600}}}).queues["celery"]
    assert (queue.autoscale_min, queue.soft_time_limit, queue.protection) == (1, 550, 10)
    assert (queue.max, queue.backlog_per_task) == (12, 25)


def test_what_is_allowed_and_risky_is_said_with_its_path() -> None:
    document = {"queues": {"sync_queue": {"pool": "threads"}, "data_queue": {"concurrency": 50}}}
    first, second = config.warnings(config.load("prod", document))
    assert first == "queues.sync_queue.pool: threads ends no task, however long it takes: bound every wait in the tasks"
    assert second.startswith("queues.data_queue.concurrency: 50 processes share cpu 2048, 2 vCPU; more than 32")
    for stack in ("staging", "prod"):
        assert config.warnings(config.load(stack, None)) == []
