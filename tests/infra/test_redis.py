"""Redis: cluster mode, encrypted, and nobody gets in but the workers' user."""

from __future__ import annotations

import pytest

from scripts.render import Render
from scripts.render.services import redis_access_string, redis_user_name, services
from service.fleet import BROKER_ACCESS_STRING, REDIS_ACCESS_STRING, RESULT_ACCESS_STRING


def test_shards_and_replicas(stack: Render) -> None:
    group = stack.one("ReplicationGroup").inputs
    assert (group["numNodeGroups"], group["replicasPerNodeGroup"]) == (3, 1)


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
    version = stack.one("SecretVersion", "redis-password")
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
        assert stack.one("SecretVersion", "redis-password").urn in definition.dependencies


def test_data_is_protected_in_prod_and_disposable_in_staging(staging: Render, prod: Render) -> None:
    for render, protected in ((staging, False), (prod, True)):
        for type_ in ("ReplicationGroup", "kms/key:Key", "dynamodb/table:Table", "s3/bucket:Bucket"):
            assert render.one(type_).protect is protected
        assert ("finalSnapshotIdentifier" in render.one("ReplicationGroup").inputs) is protected
        # A password can be made again, under the same name: another way to log in is another document, no state edit.
        for secret in render.of_type("secretsmanager/secret:Secret"):
            assert (secret.protect, secret.inputs["recoveryWindowInDays"]) == (False, 0)


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
