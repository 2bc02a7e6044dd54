"""Redis otherwise than by default: Valkey, IAM, results of their own, two passwords, a snapshot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra import config
from infra.plan.names import redis_nodes
from scripts.checks.aws_model import pascal, problems
from scripts.render import Render
from scripts.render.render import Resource
from scripts.render.services import services
from service.fleet import BROKER_ACCESS_STRING, RESULT_ACCESS_STRING
from service.settings import load_settings
from tests.infra.renders import Renders

GROUP = "elasticache/replicationGroup:ReplicationGroup"
USER = "elasticache/user:User"
DURABLE = {
    "engine": "valkey",
    "nodeType": "cache.r7g.large",
    "durability": "async",
    "authentication": "iam",
    "results": {"nodeType": "cache.m7g.large", "shards": 1, "durability": "none", "memoryAlarm": 90},
}
SHARED_PASSWORDS = {"passwords": [1, 2], "restoreFrom": "before-the-fire"}
OWN_RESULTS = {"results": {"shards": 2}}


@pytest.fixture
def durable(renders: Renders) -> Render:
    """Valkey with durability, IAM, and a smaller cluster for the results."""
    return renders.of("prod", {"redis": DURABLE})


@pytest.fixture
def rotating(renders: Renders) -> Render:
    """Two passwords, restored from a snapshot."""
    return renders.of("prod", {"redis": SHARED_PASSWORDS})


@pytest.fixture
def separate(renders: Renders) -> Render:
    """Passwords, and a cluster for the results."""
    return renders.of("prod", {"redis": OWN_RESULTS})


def statements(render: Render, policy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(render.one("iam/rolePolicy:RolePolicy", policy).inputs["policy"])[
        "Statement"
    ]
    return found


def connects(render: Render, policy: str) -> set[str]:
    """What a role may log in to."""
    return {
        resource
        for statement in statements(render, policy)
        if statement["Action"] == ["elasticache:Connect"]
        for resource in statement["Resource"]
    }


def accepted(group: Resource) -> list[str]:
    """What the API refuses of a replication group."""
    given = {
        key: value
        for key, value in group.inputs.items()
        if key in ("engine", "engineVersion", "durability", "replicationGroupId", "snapshotName", "userGroupIds")
    }
    return problems("elasticache", "CreateReplicationGroup", pascal(given) | {"ReplicationGroupDescription": "x"})


def test_the_engine_decides_family_and_durability(durable: Render) -> None:
    broker, results = durable.one(GROUP, "redis"), durable.one(GROUP, "redis-results")
    for group in (broker, results):
        assert (group.inputs["engine"], group.inputs["engineVersion"]) == ("valkey", "9.0")
        assert accepted(group) == []
        family = durable.one("elasticache/parameterGroup:ParameterGroup", group.name).inputs["family"]
        assert family == "valkey9"
    assert broker.inputs["durability"] == "async"
    assert results.inputs["durability"] == "disabled", "left out, AWS decides"
    assert results.inputs["nodeType"] == "cache.m7g.large"
    assert {user.inputs["engine"] for user in durable.of_type(USER)} == {"valkey"}
    assert {group.inputs["engine"] for group in durable.of_type("userGroup:UserGroup")} == {"valkey"}


def test_an_engine_without_durability_is_not_asked_for_it(prod: Render) -> None:
    assert "durability" not in prod.one(GROUP).inputs
    eight = config.load("prod", {"redis": {"engine": "valkey", "engineVersion": "8.2"}}).redis
    assert eight.durability == "none"


def test_with_iam_nobody_has_a_password(durable: Render) -> None:
    for part in ("redis", "redis-results"):
        user = durable.one(USER, f"{part}-workers").inputs
        assert user["authenticationMode"] == {"type": "iam"}
        assert user["userId"] == user["userName"], "IAM wants it"
    assert {secret.name for secret in durable.of_type("secretsmanager/secret:Secret")} == {"flower-password"}
    # Those of the users that are shut, which nobody is told.
    assert {made.name for made in durable.of_type("RandomPassword")} == {
        "flower-password",
        "redis-default-password",
        "redis-results-default-password",
    }
    for service in services(durable):
        assert set(service.secrets) == ({"FLEET_FLOWER_PASSWORD"} if service.role == "flower" else set())
        assert service.environment["FLEET_REDIS_AUTH"] == "iam"


def test_with_iam_every_service_may_log_in_and_reads_no_secret_of_redis(durable: Render) -> None:
    arn = "arn:aws:elasticache:eu-central-1:123456789012"
    for service in durable.of_type("ecs/service:Service"):
        assert connects(durable, f"{service.name}-task") == {
            f"{arn}:replicationgroup:celery-fleet-prod",
            f"{arn}:user:celery-fleet-prod-workers",
            f"{arn}:replicationgroup:celery-fleet-prod-results",
            f"{arn}:user:celery-fleet-prod-results",
        }
        actions = {action for s in statements(durable, f"{service.name}-execution") for action in s["Action"]}
        secret = {action for action in actions if action.startswith(("secretsmanager", "kms"))}
        assert bool(secret) is (service.name == "flower")


def test_with_passwords_no_role_may_log_in_by_iam(prod: Render) -> None:
    policies = prod.of_type("iam/rolePolicy:RolePolicy")
    assert policies
    assert not [policy.name for policy in policies if "elasticache" in policy.inputs["policy"]]


@pytest.mark.parametrize("redis", [DURABLE, OWN_RESULTS, SHARED_PASSWORDS], ids=["iam", "password", "rotation"])
def test_the_service_reads_what_the_stack_says(
    redis: dict[str, Any], renders: Renders, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = renders.of("prod", {"redis": redis})
    for ecs in services(stack):
        for name, value in {**ecs.environment, **dict.fromkeys(ecs.secrets, "x" * 48)}.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert settings.redis_auth == redis.get("authentication", "password")
        assert (settings.redis_host, settings.result_redis_host) == (
            "clustercfg.celery-fleet-prod.cache.example",
            "clustercfg.celery-fleet-prod-results.cache.example" if "results" in redis else None,
        )
        if settings.redis_auth == "iam":
            assert (settings.redis_group, settings.redis_username) == ("celery-fleet-prod", "celery-fleet-prod-workers")
            assert settings.result_redis_group == settings.result_redis_username == "celery-fleet-prod-results"
        for name in (*ecs.environment, *ecs.secrets):
            monkeypatch.delenv(name)


def test_on_two_clusters_nobody_may_do_what_belongs_to_the_other(separate: Render) -> None:
    broker, results = separate.one(USER, "redis-workers"), separate.one(USER, "redis-results-workers")
    assert broker.inputs["accessString"] == BROKER_ACCESS_STRING
    assert results.inputs["accessString"] == RESULT_ACCESS_STRING
    assert "result:" not in BROKER_ACCESS_STRING
    assert "broker:" not in RESULT_ACCESS_STRING
    for part, user in (("redis", broker), ("redis-results", results)):
        members = separate.one("userGroup:UserGroup", part).inputs
        shut = separate.one(USER, f"{part}-default").inputs
        assert set(members["userIds"]) == {user.inputs["userId"], shut["userId"]}
        assert (shut["userName"], shut["accessString"]) == ("default", "off -@all")
        assert separate.one(GROUP, part).inputs["userGroupIds"] == [members["userGroupId"]]
    ids = [user.inputs["userId"] for user in separate.of_type(USER)]
    assert len(set(ids)) == 4, "ids are the account's"


def test_on_two_clusters_every_service_has_both_passwords(separate: Render) -> None:
    for service in services(separate):
        broker, results = service.secrets["FLEET_REDIS_PASSWORD"], service.secrets["FLEET_RESULT_REDIS_PASSWORD"]
        assert "secret:celery-fleet/prod/redis-password-" in broker
        assert "secret:celery-fleet/prod/redis-results-password-" in results
        assert service.environment["FLEET_RESULT_REDIS_USERNAME"] == "celery-fleet-prod-results"


def test_the_results_cluster_is_as_safe_as_the_brokers(separate: Render) -> None:
    broker, results = separate.one(GROUP, "redis"), separate.one(GROUP, "redis-results")
    own = {"description", "replicationGroupId", "numNodeGroups", "finalSnapshotIdentifier", "logDeliveryConfigurations"}
    own |= {"parameterGroupName", "subnetGroupName", "userGroupIds"}
    assert {key: value for key, value in results.inputs.items() if key not in own} == {
        key: value for key, value in broker.inputs.items() if key not in own
    }
    assert results.inputs["numNodeGroups"] == 2
    assert results.protect is broker.protect is True
    destinations = [
        entry["destination"] for group in (broker, results) for entry in group.inputs["logDeliveryConfigurations"]
    ]
    assert len(set(destinations)) == 4
    for definition in separate.of_type("TaskDefinition"):
        assert separate.one("SecretVersion", "redis-results-password").urn in definition.dependencies


def test_every_node_of_both_is_watched_and_on_the_dashboard(durable: Render) -> None:
    nodes = {*redis_nodes("celery-fleet-prod", 3, 1), *redis_nodes("celery-fleet-prod-results", 1, 1)}
    alarms = [
        alarm.inputs
        for alarm in durable.of_type("metricAlarm:MetricAlarm")
        if alarm.inputs.get("namespace") == "AWS/ElastiCache"
    ]
    assert {alarm["dimensions"]["CacheClusterId"] for alarm in alarms} == nodes
    assert len({alarm["name"] for alarm in alarms}) == len(alarms) == 5 * len(nodes)
    thresholds = {
        alarm["dimensions"]["CacheClusterId"]: alarm["threshold"]
        for alarm in alarms
        if alarm["metricName"] == "DatabaseMemoryUsagePercentage"
    }
    assert thresholds["celery-fleet-prod-0001-001"] == 75
    assert thresholds["celery-fleet-prod-results-0001-001"] == 90
    body = json.loads(durable.one("cloudwatch/dashboard:Dashboard").inputs["dashboardBody"])
    (memory,) = (w for w in body["widgets"] if w["properties"].get("title") == "Memory (%)" and "Cache" in str(w))
    shown = {metric[3]: metric[4]["label"] for metric in memory["properties"]["metrics"]}
    assert set(shown) == nodes
    assert len(set(shown.values())) == len(nodes), "each has a name of its own"


def test_a_new_password_is_accepted_before_anybody_uses_it(rotating: Render) -> None:
    old, new = (rotating.one("RandomPassword", f"redis-workers-password-{number}") for number in (1, 2))
    user = rotating.one(USER, "redis-workers")
    assert set(user.property_dependencies["authenticationMode"]) == {old.urn, new.urn}
    assert user.inputs["authenticationMode"]["passwords"] == ["[secret]", "[secret]"]
    version = rotating.one("SecretVersion", "redis-password")
    assert version.property_dependencies["secretString"] == [new.urn], "the services use the last"
    assert user.urn in version.dependencies
    for definition in rotating.of_type("TaskDefinition"):
        assert version.urn in definition.dependencies


@pytest.mark.slow
def test_a_password_keeps_its_resource_while_it_is_accepted(prod: Render, rotating: Render, renders: Renders) -> None:
    (before,) = (made.urn for made in prod.of_type("RandomPassword") if "workers" in made.name)
    assert before in {made.urn for made in rotating.of_type("RandomPassword")}
    after = renders.of("prod", {"redis": {"passwords": [2]}})
    (left,) = (made.urn for made in after.of_type("RandomPassword") if "workers" in made.name)
    assert left in {made.urn for made in rotating.of_type("RandomPassword")}
    assert left != before


def test_another_secret_is_another_task_definition(stack: Render) -> None:
    version = stack.one("SecretVersion", "redis-password")
    for service in services(stack):
        arn, _, pinned = service.secrets["FLEET_REDIS_PASSWORD"].partition(":::")
        assert arn == version.inputs["secretId"]
        assert pinned == "redis-password.versionId"


def test_a_cluster_comes_back_from_a_snapshot(prod: Render, rotating: Render) -> None:
    before, restored = prod.one(GROUP).inputs, rotating.one(GROUP).inputs
    assert restored["snapshotName"] == "before-the-fire"
    assert accepted(rotating.one(GROUP)) == []
    assert "snapshotName" not in before
    # Names of snapshots are taken once, and the predecessor leaves one when it goes.
    assert before["finalSnapshotIdentifier"] != restored["finalSnapshotIdentifier"]
    assert len(restored["finalSnapshotIdentifier"]) <= 255
    assert set(restored) - set(before) == {"snapshotName"}


def test_results_inherit_all_but_the_snapshot() -> None:
    redis = config.load("prod", {"redis": {"restoreFrom": "a", "replicas": 2, "results": {"shards": 1}}}).redis
    assert redis.results is not None
    assert redis.results.restore_from is None
    assert (redis.results.replicas, redis.results.shards, redis.results.node_type) == (2, 1, redis.node_type)
    mixed = config.load("prod", {"redis": {"results": {"engine": "valkey"}}}).redis
    assert mixed.results is not None
    assert (mixed.engine_version, mixed.results.engine_version) == ("7.1", "9.0")
