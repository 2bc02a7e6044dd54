"""The ECS services: contract with the containers, sizes, deployments, roles."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.plan.container import secret_arn
from infra.plan.deployment import running_limit
from scripts.render import Render, Resource
from scripts.render.services import services
from service.fleet import DEAD_LETTER_QUEUE, METRIC_NAMESPACE, QUEUES
from tests.infra.renders import Renders

ALL = (*QUEUES, DEAD_LETTER_QUEUE)


def container_of(definition: Resource) -> dict[str, Any]:
    (container,) = json.loads(definition.inputs["containerDefinitions"])
    assert isinstance(container, dict)
    return container


def statements(render: Render, role: str) -> list[dict[str, Any]]:
    policy = render.one("rolePolicy:RolePolicy", role)
    found: list[dict[str, Any]] = json.loads(policy.inputs["policy"])["Statement"]
    return found


def test_one_service_a_queue_one_monitor_two_beats_and_flower(staging: Render, prod: Render) -> None:
    for stack, minimum, letters in ((staging, 2, 1), (prod, 3, 2)):
        wanted = {queue.name: minimum for queue in QUEUES} | {DEAD_LETTER_QUEUE.name: letters}
        wanted |= {"monitor": 1, "beat": 2, "flower": 1}
        assert {service.queue or service.role: service.desired_count for service in services(stack)} == wanted


def test_the_contract_with_the_worker(staging: Render, prod: Render) -> None:
    for stack, expires, logs in ((staging, "86400", ("DEBUG", "text")), (prod, "604800", ("INFO", "json"))):
        by_queue = {service.queue: service for service in services(stack)}
        for queue in ALL:
            service = by_queue[queue.name]
            concurrency = queue.concurrency if stack is prod else max(1, queue.concurrency // 2)
            expected = {
                "FLEET_STACK": stack.stack,
                "FLEET_ENVIRONMENT": stack.stack,
                "FLEET_QUEUES": queue.name,
                "FLEET_POOL": queue.pool,
                "FLEET_CONCURRENCY": str(concurrency),
                "FLEET_SHUTDOWN_GRACE": "100",
                "FLEET_RESULT_EXPIRES": expires,
                "FLEET_LOG_LEVEL": logs[0],
                "FLEET_LOG_FORMAT": logs[1],
                "FLEET_TASK_MODULES": "service.tasks",
                "FLEET_REDIS_PORT": "6379",
            }
            assert expected.items() <= service.environment.items()
            assert ("FLEET_AUTOSCALE_MIN" in service.environment) is (queue.autoscale_min is not None)
            assert service.command == ("python", "-m", "service", "worker")


def test_the_contract_with_the_monitor(stack: Render) -> None:
    (monitor,) = (service for service in services(stack) if service.role == "monitor")
    assert monitor.command == ("python", "-m", "service", "monitor")
    assert set(monitor.environment) == {
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "FLEET_STACK",
        "FLEET_ENVIRONMENT",
        "FLEET_REDIS_HOST",
        "FLEET_REDIS_PORT",
        "FLEET_REDIS_USERNAME",
        "FLEET_REDIS_TLS",
        "FLEET_LOG_LEVEL",
        "FLEET_LOG_FORMAT",
        "FLEET_QUEUE_TABLE",
        "FLEET_WATCH_BEAT",
    }
    assert monitor.environment["FLEET_WATCH_BEAT"] == "true"
    assert set(monitor.secrets) == {"FLEET_REDIS_PASSWORD"}


def test_containers_are_as_the_image_wants_them(stack: Render) -> None:
    for definition in stack.of_type("TaskDefinition"):
        container = container_of(definition)
        assert container["user"] == "10001:10001"
        (mount,) = container["mountPoints"]
        assert mount["containerPath"] == "/tmp"
        assert container["healthCheck"]["command"] == ["CMD", "python", "-m", "service", "healthcheck"]
        assert container["stopTimeout"] == 120


def test_deployments_move_one_by_one_at_the_minimum(stack: Render) -> None:
    alarms = {alarm.inputs["name"]: alarm for alarm in stack.of_type("metricAlarm:MetricAlarm")}
    for service in stack.of_type("ecs/service:Service"):
        inputs = service.inputs
        assert running_limit(inputs["desiredCount"], inputs["deploymentMaximumPercent"]) == inputs["desiredCount"] + 1
        for name in inputs.get("alarms", {}).get("alarmNames", []):
            assert alarms[name].urn in service.dependencies


def test_memory_alarm_can_be_reached_before_the_container_is_killed(stack: Render) -> None:
    for definition in stack.of_type("TaskDefinition"):
        # Nobody's code runs in these two.
        if definition.name not in ("monitor", "flower"):
            limit = 100 * container_of(definition)["memory"] / int(definition.inputs["memory"])
            alarm = stack.one("metricAlarm:MetricAlarm", f"{definition.name}-memory")
            assert alarm.inputs["threshold"] < limit


def test_nothing_is_on_spot_unless_its_tasks_may_run_twice(stack: Render) -> None:
    for service in stack.of_type("ecs/service:Service"):
        assert service.inputs["capacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 1}]


def test_the_execution_role_reads_this_secret_this_log_this_image(stack: Render) -> None:
    secret = stack.one("SecretVersion", "redis-password").inputs["secretId"]
    flower = stack.one("SecretVersion", "flower-password").inputs["secretId"]
    for service in stack.of_type("ecs/service:Service"):
        granted = {
            action: statement
            for statement in statements(stack, f"{service.name}-execution")
            for action in statement["Action"]
        }
        own = [flower] if service.name == "flower" else []
        assert granted["secretsmanager:GetSecretValue"]["Resource"] == [*own, secret]
        (log,) = granted["logs:PutLogEvents"]["Resource"]
        assert log.endswith(f":log-group:/celery-fleet/{stack.stack}/{service.name}:*")
        (key,) = granted["kms:Decrypt"]["Resource"]
        assert key.startswith("arn:aws:kms:")
        assert [a for a, s in granted.items() if s["Resource"] == ["*"]] == ["ecr:GetAuthorizationToken"]


def test_task_roles_hold_what_the_code_calls_and_nothing_else(stack: Render) -> None:
    for service in services(stack):
        short = service.name.removeprefix(f"celery-fleet-{stack.stack}-")
        if service.role == "beat":
            assert not [policy for policy in stack.of_type("rolePolicy:RolePolicy") if policy.name == "beat-task"]
            continue
        if service.role == "flower":
            continue  # its sessions: test_flower.py
        statement, *more = statements(stack, f"{short}-task")
        # Those of the dead letters: tests/infra/test_dead_letters.py.
        assert bool(more) == (service.queue == DEAD_LETTER_QUEUE.name)
        if service.role == "monitor":
            assert statement["Action"] == ["cloudwatch:PutMetricData"]
            assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": METRIC_NAMESPACE}}
        else:
            assert statement["Action"] == ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
            (tasks,) = statement["Resource"]
            assert tasks.endswith(f":task/celery-fleet-{stack.stack}/*")


@pytest.fixture(scope="module")
def customised(renders: Renders) -> Render:
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop-AbCdEf"
    queue = {
        "min": 4,
        "max": 4,
        "environment": {"SHOP": "eu"},
        "secrets": {"SHOP_TOKEN": secret},
        "policies": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
    }
    overrides = {
        "queues": {"data_queue": queue},
        "redis": {"shards": 4},
        "taskModules": ["shop.tasks", "shop.mail"],
        "waitFor": ["tcp://db:5432", "mongodb://a,b/?replicaSet=rs0"],
        "network": {
            "egress": [
                {"to": "10.9.0.0/16", "port": 5432, "description": "PostgreSQL"},
                {"to": "10.9.0.0/16", "port": 27017, "description": "MongoDB"},
            ]
        },
    }
    return renders.begin("prod", overrides).result()


def test_a_queue_of_ones_own(customised: Render) -> None:
    by_queue = {service.queue: service for service in services(customised)}
    data = by_queue["data_queue"]
    assert data.environment["SHOP"] == "eu"
    assert data.environment["FLEET_TASK_MODULES"] == "shop.tasks,shop.mail"
    assert data.environment["FLEET_WAIT_FOR"] == "tcp://db:5432 mongodb://a,b/?replicaSet=rs0"
    assert "SHOP" not in by_queue["celery"].environment
    (read,) = (
        s for s in statements(customised, "data-queue-execution") if "secretsmanager:GetSecretValue" in s["Action"]
    )
    assert set(read["Resource"]) == {secret_arn(reference) for reference in data.secrets.values()}
    attachment = customised.one("RolePolicyAttachment")
    assert attachment.inputs["role"] == "celery-fleet-prod-data-queue-task"
    assert not [target for target in customised.of_type("appautoscaling/target:Target") if target.name == "data-queue"]
    service = customised.one("ecs/service:Service", "data-queue")
    assert (service.inputs["desiredCount"], service.inputs["deploymentMaximumPercent"]) == (4, 125)
