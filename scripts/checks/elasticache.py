"""ElastiCache in cluster mode: shards, users, parameters, identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import (
    GROUP,
    LOG_GROUP,
    SERVICE,
    TASK_DEFINITION,
    containers,
    definition_of,
    grants,
    role_name,
    variables,
)
from scripts.render import Render, Resource

USER: Final = "elasticache/user:User"
USER_GROUP: Final = "elasticache/userGroup:UserGroup"
PARAMETERS: Final = "elasticache/parameterGroup:ParameterGroup"

#: Beside letters and digits.
_PASSWORD_MARKS: Final = frozenset("!&#$^<>-")
_IDENTIFIER: Final = re.compile(r"[a-z](?:-?[a-z0-9])*")
#: Rules that give a client more than queues and results need.
_TOO_MUCH: Final = frozenset(
    {"+@all", "allcommands", "+@admin", "+@dangerous", "nopass", "+config", "+debug", "+flushall"}
)


def _cluster_mode(render: Render) -> Iterator[Problem]:
    """Shards with replicas in several zones, and a failover that needs nobody."""
    for group in render.of_type(GROUP):
        inputs = group.inputs
        if "numCacheClusters" in inputs:
            yield at(group, "numCacheClusters", "excludes numNodeGroups")
        if inputs.get("numNodeGroups", 0) < 1 or inputs.get("clusterMode", "enabled") != "enabled":
            yield at(group, "numNodeGroups", "is not in cluster mode")
        if inputs.get("replicasPerNodeGroup", 0) < 1:
            yield at(group, "replicasPerNodeGroup", "a lost node is lost data")
        for key in ("automaticFailoverEnabled", "multiAzEnabled"):
            if inputs.get(key) is not True:
                yield at(group, key, "must be true")
        if "applyImmediately" not in inputs:
            yield at(group, "applyImmediately", "say when changes happen")
        if inputs.get("port", 6379) == 0:
            yield at(group, "port", "has none")


def _encryption(render: Render) -> Iterator[Problem]:
    """On disk with the stack's key, on the wire without exception."""
    for group in render.of_type(GROUP):
        inputs = group.inputs
        if inputs.get("atRestEncryptionEnabled") is not True or "kmsKeyId" not in inputs:
            yield at(group, "atRestEncryptionEnabled", "data lies unencrypted or under AWS' key")
        if inputs.get("transitEncryptionEnabled") is not True or inputs.get("transitEncryptionMode") != "required":
            yield at(group, "transitEncryptionMode", "clients may connect without TLS")


def _parameters(render: Render) -> Iterator[Problem]:
    """An own parameter group of the engine's family that evicts nothing."""
    groups = {group.urn: group for group in render.of_type(PARAMETERS)}
    for group in render.of_type(GROUP):
        own = [groups[urn] for urn in group.property_dependencies.get("parameterGroupName", []) if urn in groups]
        if not own:
            yield at(group, "parameterGroupName", "AWS' default group evicts queued work")
        for parameters in own:
            values = {entry["name"]: entry["value"] for entry in parameters.inputs.get("parameters", [])}
            for name, value in (("cluster-enabled", "yes"), ("maxmemory-policy", "noeviction")):
                if values.get(name) != value:
                    yield at(parameters, f"parameters.{name}", f"{values.get(name)!r}, not {value!r}")
            family = f"{group.inputs.get('engine', 'redis')}{str(group.inputs['engineVersion']).partition('.')[0]}"
            if parameters.inputs["family"] != family:
                yield at(parameters, "family", f"{parameters.inputs['family']}, but the engine is {family}")


def _engine(render: Render) -> Iterator[Problem]:
    """What an engine does not have is not asked of it."""
    for group in render.of_type(GROUP):
        engine, version = group.inputs.get("engine", "redis"), str(group.inputs["engineVersion"])
        if engine == "redis" and not version.startswith(("6.", "7.")):
            yield at(group, "engineVersion", f"the last Redis is 7.1, not {version}")
        if "durability" in group.inputs and group.inputs["durability"] not in ("default", "disabled"):
            if engine != "valkey" or int(version.partition(".")[0]) < 9:
                yield at(group, "durability", "exists from Valkey 9.0 on")
            if re.match(r"cache\.t\d", group.inputs["nodeType"]):
                yield at(group, "durability", f"{group.inputs['nodeType']} does not have it")


def _identifiers(render: Render) -> Iterator[Problem]:
    """Small letters, a letter first, single hyphens, at most 40 characters."""
    for type_, key in ((GROUP, "replicationGroupId"), (USER, "userId"), (USER_GROUP, "userGroupId")):
        for resource in render.of_type(type_):
            name = resource.inputs[key]
            if len(name) > 40 or not _IDENTIFIER.fullmatch(name):
                yield at(resource, key, f"{name!r} is no identifier: at most 40 small letters, digits, single hyphens")


def _user_groups(render: Render) -> Iterator[Problem]:
    """A replication group lets in who is in its user group: somebody, but not ElastiCache's own `default`."""
    users = {user.inputs["userId"]: user for user in render.of_type(USER)}
    for group in render.of_type(USER_GROUP):
        members = [users[user_id] for user_id in group.inputs["userIds"] if user_id in users]
        for user_id in sorted(set(group.inputs["userIds"]) - set(users)):
            yield at(group, "userIds", f"there is no user {user_id}")
        nobody = [user for user in members if user.inputs["userName"] == "default"]
        if group.inputs["engine"] == "redis" and not any(map(_shut, nobody)):
            yield at(group, "userIds", "the user `default` must be replaced by one that can do nothing")
        if all(map(_shut, members)):
            yield at(group, "userIds", "nobody can connect")
    known = {group.inputs["userGroupId"] for group in render.of_type(USER_GROUP)}
    for replication in render.of_type(GROUP):
        if not set(replication.inputs.get("userGroupIds", [])) & known:
            yield at(replication, "userGroupIds", "no user group guards it")


def _access(render: Render) -> Iterator[Problem]:
    """A user begins with nothing and gets what queues and results need."""
    for user in render.of_type(USER):
        rules = set(user.inputs["accessString"].lower().split())
        if user.inputs.get("noPasswordRequired"):
            yield at(user, "noPasswordRequired", "anybody is this user")
        if _shut(user):
            continue
        if found := rules & _TOO_MUCH:
            yield at(user, "accessString", f"allows {', '.join(sorted(found))}")
        if "-@all" not in rules:
            yield at(user, "accessString", "does not begin with nothing: -@all")


def _channels(render: Render) -> Iterator[Problem]:
    """Whoever waits for results listens on channels, which are shut unless a user names them."""
    users = render.of_type(USER)
    if not any(rule.startswith("&") for user in users for rule in user.inputs["accessString"].split()):
        yield from (at(user, "accessString", "no user names channels: no result is announced") for user in users[:1])


def _shut(user: Resource) -> bool:
    return "off" in user.inputs["accessString"].split()


def _iam(render: Render) -> Iterator[Problem]:
    """A user who proves himself by IAM is called as his id; the tasks may connect as him."""
    users = [user for user in render.of_type(USER) if user.inputs.get("authenticationMode", {}).get("type") == "iam"]
    for user in users:
        if user.inputs["userId"] != user.inputs["userName"]:
            yield at(user, "userName", f"must be {user.inputs['userId']!r}, the user's id")
        for service in render.of_type(SERVICE):
            role = role_name(definition_of(render, service).inputs["taskRoleArn"])
            reached = [
                arn for statement in grants(render, role, "elasticache:Connect") for arn in statement["Resource"]
            ]
            wanted = [f":user:{user.inputs['userId']}"]
            wanted += [f":replicationgroup:{group.inputs['replicationGroupId']}" for group in _guarded(render, user)]
            for end in wanted:
                if not any(arn.endswith(end) for arn in reached):
                    yield at(service, "taskRoleArn", f"{role} may not elasticache:Connect to {end.lstrip(':')}")


def _guarded(render: Render, user: Resource) -> list[Resource]:
    """Return the replication groups that `user` can get into."""
    groups = {
        g.inputs["userGroupId"] for g in render.of_type(USER_GROUP) if user.inputs["userId"] in g.inputs["userIds"]
    }
    return [group for group in render.of_type(GROUP) if groups & set(group.inputs.get("userGroupIds", []))]


def _passwords(render: Render) -> Iterator[Problem]:
    """ElastiCache takes 16 to 128 characters, and few marks."""
    for password in render.of_type("random:index/randomPassword:RandomPassword"):
        inputs: dict[str, Any] = password.inputs
        if not 16 <= inputs["length"] <= 128:
            yield at(password, "length", f"{inputs['length']} is not within 16 and 128")
        marks = set(inputs.get("overrideSpecial", "@")) if inputs.get("special", True) else set()
        if not marks <= _PASSWORD_MARKS:
            yield at(password, "special", f"ElastiCache takes no marks but {''.join(sorted(_PASSWORD_MARKS))}")


def _logs(render: Render) -> Iterator[Problem]:
    """Slow log and engine log arrive; the destination is a log group's name, not its ARN."""
    groups = {group.inputs["name"] for group in render.of_type(LOG_GROUP)}
    for group in render.of_type(GROUP):
        deliveries = group.inputs.get("logDeliveryConfigurations", [])
        if {delivery["logType"] for delivery in deliveries} != {"slow-log", "engine-log"}:
            yield at(group, "logDeliveryConfigurations", "slow-log and engine-log must both be delivered")
        for delivery in deliveries:
            if delivery["destinationType"] == "cloudwatch-logs" and delivery["destination"] not in groups:
                yield at(group, "logDeliveryConfigurations", f"there is no log group {delivery['destination']}")


def _one_database(render: Render) -> Iterator[Problem]:
    """A cluster has database 0 only."""
    for definition in render.of_type(TASK_DEFINITION):
        for container in containers(definition):
            for name, value in variables(container).items():
                if re.search(r"rediss?(cluster)?://\S+/[1-9]", str(value)):
                    yield at(definition, name, "names a database; a cluster has number 0 only")


CHECKS: Final[Checks] = {
    "elasticache.cluster-mode": _cluster_mode,
    "elasticache.encryption": _encryption,
    "elasticache.parameters": _parameters,
    "elasticache.engine": _engine,
    "elasticache.identifiers": _identifiers,
    "elasticache.user-groups": _user_groups,
    "elasticache.access": _access,
    "elasticache.channels": _channels,
    "elasticache.iam": _iam,
    "elasticache.passwords": _passwords,
    "elasticache.logs": _logs,
    "elasticache.one-database": _one_database,
}
