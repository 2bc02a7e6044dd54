"""Redis: cluster mode, encrypted, and nobody gets in but the workers' user."""

from __future__ import annotations

import json

import pytest

from infra.plan.names import redis_nodes
from scripts.render import Render
from scripts.render.services import redis_access_string, redis_user_name, services
from service.fleet import BROKER_ACCESS_STRING, REDIS_ACCESS_STRING, RESULT_ACCESS_STRING
from scripts.checks.aws_model import pascal, problems


def test_shards_replicas_and_failover(stack: Render) -> None:
    group = stack.one("ReplicationGroup").inputs
    assert (group["numNodeGroups"], group["replicasPerNodeGroup"]) == (3, 1)
    assert group["automaticFailoverEnabled"] is group["multiAzEnabled"] is True
    assert "numCacheClusters" not in group, "excludes numNodeGroups"
    assert len(redis_nodes("g", 3, 1)) == 6


def test_nothing_queued_is_evicted(stack: Render) -> None:
    parameters = stack.one("elasticache/parameterGroup:ParameterGroup")
    values = {entry["name"]: entry["value"] for entry in parameters.inputs["parameters"]}
    assert values["cluster-enabled"] == "yes"
    assert values["maxmemory-policy"] == "noeviction"
    assert parameters.inputs["family"] == "redis7"


def test_encrypted_at_rest_and_on_the_wire(stack: Render) -> None:
    group = stack.one("ReplicationGroup")
    assert group.inputs["atRestEncryptionEnabled"] is group.inputs["transitEncryptionEnabled"] is True
    assert group.inputs["transitEncryptionMode"] == "required"
    assert group.property_dependencies["kmsKeyId"] == [stack.one("kms/key:Key").urn]


def test_the_default_user_is_shut_and_both_are_in_the_group(stack: Render) -> None:
    users = {user.inputs["userName"]: user for user in stack.of_type("elasticache/user:User")}
    assert set(users) == {"default", workers := redis_user_name(stack)}
    assert users["default"].inputs["accessString"] == "off -@all"
    assert users[workers].inputs["accessString"] == REDIS_ACCESS_STRING
    (group,) = stack.of_type("elasticache/userGroup:UserGroup")
    assert set(group.inputs["userIds"]) == {user.inputs["userId"] for user in users.values()}
    assert stack.one("ReplicationGroup").inputs["userGroupIds"] == [group.inputs["userGroupId"]]
    for user in users.values():
        assert user.inputs["userId"] == user.inputs["userId"].lower()
        assert user.inputs["authenticationMode"]["type"] == "password"


def test_the_services_use_that_user_that_password_and_that_endpoint(stack: Render) -> None:
    version = stack.one("SecretVersion")
    password = stack.one("RandomPassword", "redis-workers-password-1")
    assert version.property_dependencies["secretString"] == [password.urn]
    user = stack.one("elasticache/user:User", "redis-workers")
    assert user.property_dependencies["authenticationMode"] == [password.urn]
    for service in services(stack):
        assert service.secrets["FLEET_REDIS_PASSWORD"] == f"{version.inputs['secretId']}:::redis-password.versionId"
        assert service.environment["FLEET_REDIS_USERNAME"] == redis_user_name(stack)
        assert service.environment["FLEET_REDIS_HOST"].startswith("clustercfg.")
        assert service.environment["FLEET_REDIS_TLS"] == "true"
    assert redis_access_string(stack) == REDIS_ACCESS_STRING


def test_a_task_definition_waits_until_the_password_is_stored(stack: Render) -> None:
    for definition in stack.of_type("TaskDefinition"):
        assert stack.one("SecretVersion").urn in definition.dependencies


def test_passwords_are_what_elasticache_accepts(stack: Render) -> None:
    for password in stack.of_type("RandomPassword"):
        assert 16 <= password.inputs["length"] <= 128
        assert password.inputs["special"] is False


def test_data_is_protected_in_prod_and_disposable_in_staging(staging: Render, prod: Render) -> None:
    for render, protected in ((staging, False), (prod, True)):
        for type_ in ("ReplicationGroup", "kms/key:Key", "secretsmanager/secret:Secret"):
            assert render.one(type_).protect is protected
        assert ("finalSnapshotIdentifier" in render.one("ReplicationGroup").inputs) is protected
    assert staging.one("secretsmanager/secret:Secret").inputs["recoveryWindowInDays"] == 0


def test_logs_go_where_aws_may_write(stack: Render) -> None:
    deliveries = stack.one("ReplicationGroup").inputs["logDeliveryConfigurations"]
    assert {delivery["logType"] for delivery in deliveries} == {"slow-log", "engine-log"}
    groups = {group.inputs["name"] for group in stack.of_type("logGroup:LogGroup")}
    for delivery in deliveries:
        assert delivery["destination"] in groups
        assert delivery["destination"].startswith("/aws/vendedlogs/")


def test_the_api_accepts_group_and_users(stack: Render) -> None:
    inputs = dict(stack.one("ReplicationGroup").inputs)
    for key in ("applyImmediately", "tags", "finalSnapshotIdentifier"):
        inputs.pop(key, None)  # not parameters of the creation
    deliveries = [
        {
            "LogType": entry["logType"],
            "DestinationType": entry["destinationType"],
            "DestinationDetails": {"CloudWatchLogsDetails": {"LogGroup": entry["destination"]}},
            "LogFormat": entry["logFormat"],
        }
        for entry in inputs.pop("logDeliveryConfigurations")
    ]
    renamed = {
        "ReplicationGroupDescription": inputs.pop("description"),
        "CacheNodeType": inputs.pop("nodeType"),
        "CacheParameterGroupName": inputs.pop("parameterGroupName"),
        "CacheSubnetGroupName": inputs.pop("subnetGroupName"),
        "PreferredMaintenanceWindow": inputs.pop("maintenanceWindow"),
        "MultiAZEnabled": inputs.pop("multiAzEnabled"),
        "LogDeliveryConfigurations": deliveries,
    }
    assert problems("elasticache", "CreateReplicationGroup", renamed | pascal(inputs)) == []
    for user in stack.of_type("elasticache/user:User"):
        given = {key: value for key, value in user.inputs.items() if key not in ("tags", "authenticationMode")}
        mode = {"Type": "password", "Passwords": ["x" * 48]}
        assert problems("elasticache", "CreateUser", pascal(given) | {"AuthenticationMode": mode}) == []
    assert json.dumps(inputs)


#: "Restricted commands" in the ElastiCache user guide, and `acl`, whose rules only the API writes.
FORBIDDEN = {
    *(
        "acl",
        "bgrewriteaof",
        "bgsave",
        "config",
        "debug",
        "migrate",
        "replicaof",
        "save",
        "shutdown",
        "slaveof",
        "sync",
    ),
}


@pytest.mark.parametrize("rights", [REDIS_ACCESS_STRING, BROKER_ACCESS_STRING, RESULT_ACCESS_STRING])
def test_the_rights_are_what_elasticache_takes_and_no_more(rights: str) -> None:
    state, *words = rights.split()
    assert state == "on"
    assert {word for word in words if word[0] in "~%"} <= {"~broker:*", "~result:*"}, "the service's keys"
    assert {word for word in words if word[0] == "&"} <= {"&result:*"}
    assert words.index("-@all") < min(words.index(word) for word in words if word.startswith("+")), "everything by name"
    granted = [word[1:] for word in words if word.startswith("+")]
    assert not {word for word in granted if word in ("@all", "@admin", "@dangerous", "@scripting", "@slow", "@fast")}
    assert not {word for word in granted if word.partition("|")[0] in FORBIDDEN}
    # Of `cluster` and `script` single parts only: the whole would be admin commands, too.
    assert not {"cluster", "script", "function", "client"} & set(granted)
    assert not {word for word in words if word[0] in "<>#!(" or word in ("nopass", "reset", "resetpass")}, (
        "passwords are the API's"
    )
