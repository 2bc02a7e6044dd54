"""What alarms compute and what ECS' events tell; what holds for all of them: `scripts/checks/alarms.py`."""

from __future__ import annotations

import json

import pytest

from infra.plan.alarms import redis_alarms
from infra.plan.elasticache import max_clients
from scripts.render import Render


def test_a_share_of_failures_is_an_alarm_and_one_of_one_is_none(stack: Render) -> None:
    alarm = stack.one("MetricAlarm", "celery-failures").inputs
    (formula,) = (query for query in alarm["metricQueries"] if query["returnData"])
    assert formula["expression"] == "IF(failed + done >= 10, 100 * failed / (failed + done), 0)"
    sums = {q["id"]: q["metric"] for q in alarm["metricQueries"] if "metric" in q}
    assert {key: metric["metricName"] for key, metric in sums.items()} == {"failed": "QueueFailed", "done": "QueueDone"}
    assert {(metric["stat"], metric["period"]) for metric in sums.values()} == {("Sum", 300)}
    assert (alarm["threshold"], alarm["comparisonOperator"]) == (10, "GreaterThanThreshold")


def test_many_restarts_are_an_alarm_beside_the_mail_for_each(stack: Render) -> None:
    for part in ("worker-died", "worker-unhealthy", "worker-killed"):
        alarm = stack.one("MetricAlarm", f"{part}-often").inputs
        assert (alarm["metricName"], alarm["statistic"], alarm["period"]) == ("TriggeredRules", "Sum", 900)
        assert alarm["threshold"] == 5


def test_events_of_this_cluster_reach_the_topic(stack: Render) -> None:
    rules = {rule.name: json.loads(rule.inputs["eventPattern"]) for rule in stack.of_type("EventRule")}
    assert set(rules) == {"worker-died", "worker-unhealthy", "worker-killed", "deployment-failed"}
    assert rules["worker-unhealthy"]["detail"]["stoppedReason"] == [{"wildcard": "*failed container health checks*"}]
    assert rules["worker-killed"]["detail"]["containers"] == {"exitCode": [137]}
    of_tasks = ("worker-died", "worker-unhealthy", "worker-killed")
    for name in of_tasks:
        assert rules[name]["detail"]["clusterArn"] == [
            f"arn:aws:ecs:eu-central-1:123456789012:cluster/celery-fleet-{stack.stack}"
        ]
    for target in stack.of_type("EventTarget"):
        assert target.inputs["arn"].endswith("-alarms")
        # What the runbook reads in a mail.
        assert ("exit code <code>" in target.inputs["inputTransformer"]["inputTemplate"]) == (target.name in of_tasks)


def test_a_worker_of_one_thread_is_busy_with_one_core(stack: Render) -> None:
    cores = {"staging": 1, "prod": 2}[stack.stack]
    thresholds = {q: stack.one("MetricAlarm", f"{q}-cpu").inputs["threshold"] for q in ("sync-queue", "data-queue")}
    assert thresholds == {"sync-queue": 95 / cores, "data-queue": 95}


def test_a_beat_that_is_silent_stays_silent_while_nobody_speaks_of_it(stack: Render) -> None:
    assert stack.one("MetricAlarm", "beat-silent").inputs["treatMissingData"] == "ignore"


@pytest.mark.parametrize(
    ("node_type", "connections"),
    [("cache.t4g.micro", 15_000), ("cache.t3.small", 34_500), ("cache.m7g.large", 48_750)],
)
def test_connections_alarm_before_the_node_refuses(node_type: str, connections: int) -> None:
    alarms = {alarm.name: alarm for alarm in redis_alarms("redis", ["x-0001-001"], 75, 80, max_clients(node_type))}
    assert alarms["redis-0001-001-connections"].threshold == connections
