"""The ECS services: contract with the containers, sizes, deployments, roles."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripts.checks.aws_model import problems

from infra.plan.container import secret_arn
from infra.plan.deployment import running_limit
from infra.plan.fargate import SIZES
from scripts.render import Render, Resource, render
from scripts.render.services import services
from service.fleet import DEAD_LETTER_QUEUE, METRIC_NAMESPACE, QUEUES

ALL = (*QUEUES, DEAD_LETTER_QUEUE)


def container_of(definition: Resource) -> dict[str, Any]:
    (container,) = json.loads(definition.inputs["containerDefinitions"])
    assert isinstance(container, dict)
    return container


def statements(render: Render, role: str) -> list[dict[str, Any]]:
    policy = render.one("rolePolicy:RolePolicy", role)
    found: list[dict[str, Any]] = json.loads(policy.inputs["policy"])["Statement"]
    return found


def test_one_service_a_queue_and_one_monitor(staging: Render, prod: Render) -> None:
    for stack, minimum, letters in ((staging, 2, 1), (prod, 3, 2)):
        wanted = {queue.name: minimum for queue in QUEUES} | {DEAD_LETTER_QUEUE.name: letters, None: 1}
        assert {service.queue: service.desired_count for service in services(stack)} == wanted


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
    }
    assert set(monitor.secrets) == {"FLEET_REDIS_PASSWORD"}


def test_containers_are_locked_down(stack: Render) -> None:
    for definition in stack.of_type("TaskDefinition"):
        container = container_of(definition)
        assert container["user"] == "10001:10001"
        assert container["readonlyRootFilesystem"] is True
        assert container["privileged"] is False
        assert container["linuxParameters"] == {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}
        (mount,) = container["mountPoints"]
        assert mount["containerPath"] == "/tmp"
        assert definition.inputs["volumes"] == [{"name": mount["sourceVolume"]}]
        assert container["healthCheck"]["command"] == ["CMD", "python", "-m", "service", "healthcheck"]
        assert container["stopTimeout"] == 120
        assert "@sha256:" in container["image"]


def test_sizes_are_sold_and_containers_fit_in(stack: Render) -> None:
    for definition in stack.of_type("TaskDefinition"):
        container, cpu, memory = (
            container_of(definition),
            int(definition.inputs["cpu"]),
            int(definition.inputs["memory"]),
        )
        assert memory in SIZES[cpu]
        assert container["memoryReservation"] <= container["memory"] <= memory
        assert container["cpu"] <= cpu


def test_deployments_start_first_move_and_roll_back(stack: Render) -> None:
    alarms = {alarm.inputs["name"]: alarm for alarm in stack.of_type("metricAlarm:MetricAlarm")}
    for service in stack.of_type("ecs/service:Service"):
        inputs = service.inputs
        assert inputs["deploymentMinimumHealthyPercent"] == 100
        assert running_limit(inputs["desiredCount"], inputs["deploymentMaximumPercent"]) == inputs["desiredCount"] + 1
        assert inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
        assert inputs["availabilityZoneRebalancing"] == "ENABLED"
        scaled = any(target.name == service.name for target in stack.of_type("appautoscaling/target:Target"))
        assert service.ignore_changes == (["desiredCount"] if scaled else []), "else a new count would change nothing"
        assert "launchType" not in inputs, "excludes capacity providers"
        if service.name != "monitor":
            assert inputs["alarms"]["enable"] is inputs["alarms"]["rollback"] is True
            for name in inputs["alarms"]["alarmNames"]:
                assert alarms[name].urn in service.dependencies


def test_memory_alarm_can_be_reached_before_the_container_is_killed(stack: Render) -> None:
    for definition in stack.of_type("TaskDefinition"):
        if definition.name != "monitor":
            limit = 100 * container_of(definition)["memory"] / int(definition.inputs["memory"])
            alarm = stack.one("metricAlarm:MetricAlarm", f"{definition.name}-memory")
            assert alarm.inputs["threshold"] < limit


def test_services_wait_for_everything_a_task_needs(stack: Render) -> None:
    for service in stack.of_type("ecs/service:Service"):
        needed = {urn.rpartition("::")[0].rpartition("$")[2] for urn in service.dependencies}
        assert {
            "aws:ec2/route:Route",
            "aws:ec2/routeTableAssociation:RouteTableAssociation",
            "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
            "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders",
            "aws:elasticache/replicationGroup:ReplicationGroup",
            "aws:secretsmanager/secretVersion:SecretVersion",
        } <= needed
        for kind in ("execution", "task"):
            assert stack.one("rolePolicy:RolePolicy", f"{service.name}-{kind}").urn in service.dependencies


def test_nothing_is_on_spot_unless_its_tasks_may_run_twice(stack: Render) -> None:
    for service in stack.of_type("ecs/service:Service"):
        assert service.inputs["capacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 1}]


def test_the_execution_role_reads_this_secret_this_log_this_image(stack: Render) -> None:
    secret = stack.one("SecretVersion").inputs["secretId"]
    for service in stack.of_type("ecs/service:Service"):
        granted = {
            action: statement
            for statement in statements(stack, f"{service.name}-execution")
            for action in statement["Action"]
        }
        assert granted["secretsmanager:GetSecretValue"]["Resource"] == [secret]
        (log,) = granted["logs:PutLogEvents"]["Resource"]
        assert log.endswith(f":log-group:/celery-fleet/{stack.stack}/{service.name}:*")
        (key,) = granted["kms:Decrypt"]["Resource"]
        assert key.startswith("arn:aws:kms:")
        assert [a for a, s in granted.items() if s["Resource"] == ["*"]] == ["ecr:GetAuthorizationToken"]


def test_task_roles_hold_what_the_code_calls_and_nothing_else(stack: Render) -> None:
    for service in services(stack):
        short = service.name.removeprefix(f"celery-fleet-{stack.stack}-")
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


def test_roles_can_be_taken_by_ecs_for_this_account_only(stack: Render) -> None:
    for role in stack.of_type("iam/role:Role"):
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        assert statement["Principal"]["Service"] in ("ecs-tasks.amazonaws.com", "vpc-flow-logs.amazonaws.com")
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
        assert len(role.inputs["name"]) <= 64


def test_the_api_accepts_task_definitions_and_services(stack: Render) -> None:
    for definition in stack.of_type("TaskDefinition"):
        inputs = dict(definition.inputs)
        containers = json.loads(inputs.pop("containerDefinitions"))
        inputs.pop("tags")
        assert problems("ecs", "RegisterTaskDefinition", inputs | {"containerDefinitions": containers}) == []
    for service in stack.of_type("ecs/service:Service"):
        inputs = service.inputs
        network = inputs["networkConfiguration"]
        params = {
            "cluster": inputs["cluster"],
            "serviceName": inputs["name"],
            "taskDefinition": inputs["taskDefinition"],
            "desiredCount": inputs["desiredCount"],
            "capacityProviderStrategy": inputs["capacityProviderStrategies"],
            "platformVersion": inputs["platformVersion"],
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": network["subnets"],
                    "securityGroups": network["securityGroups"],
                    "assignPublicIp": "ENABLED" if network["assignPublicIp"] else "DISABLED",
                }
            },
            "deploymentConfiguration": {
                "deploymentCircuitBreaker": inputs["deploymentCircuitBreaker"],
                "maximumPercent": inputs["deploymentMaximumPercent"],
                "minimumHealthyPercent": inputs["deploymentMinimumHealthyPercent"],
                **({"alarms": inputs["alarms"]} if "alarms" in inputs else {}),
            },
            "availabilityZoneRebalancing": inputs["availabilityZoneRebalancing"],
            "propagateTags": inputs["propagateTags"],
            "enableECSManagedTags": inputs["enableEcsManagedTags"],
        }
        assert problems("ecs", "CreateService", params) == []


@pytest.fixture(scope="module")
def customised() -> Render:
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop-AbCdEf"
    queue = {
        "min": 4,
        "max": 4,
        "environment": {"SHOP": "eu"},
        "secrets": {"SHOP_TOKEN": secret},
        "policies": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
    }
    return render(
        "prod",
        {
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
        },
    )


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


def test_a_further_shard_is_watched(customised: Render) -> None:
    nodes = {
        alarm.inputs["dimensions"]["CacheClusterId"]
        for alarm in customised.of_type("metricAlarm:MetricAlarm")
        if alarm.inputs.get("namespace") == "AWS/ElastiCache"
    }
    assert len(nodes) == 8
    assert "celery-fleet-prod-0004-002" in nodes
