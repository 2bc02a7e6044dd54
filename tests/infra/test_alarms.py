"""What alarms compute and what ECS' events tell; what holds for all of them: `scripts/checks/alarms.py`."""

from __future__ import annotations

import json

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
    for part in ("worker-died", "worker-killed"):
        alarm = stack.one("MetricAlarm", f"{part}-often").inputs
        assert (alarm["metricName"], alarm["statistic"], alarm["period"]) == ("TriggeredRules", "Sum", 900)
        assert alarm["threshold"] == 5


def test_events_of_this_cluster_reach_the_topic(stack: Render) -> None:
    rules = {rule.name: json.loads(rule.inputs["eventPattern"]) for rule in stack.of_type("EventRule")}
    assert set(rules) == {"worker-died", "worker-killed", "deployment-failed"}
    assert rules["worker-killed"]["detail"]["containers"] == {"exitCode": [137]}
    for name in ("worker-died", "worker-killed"):
        assert rules[name]["detail"]["clusterArn"] == [
            f"arn:aws:ecs:eu-central-1:123456789012:cluster/celery-fleet-{stack.stack}"
        ]
    for target in stack.of_type("EventTarget"):
        assert target.inputs["arn"].endswith("-alarms")
