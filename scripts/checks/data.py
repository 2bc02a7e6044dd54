"""What must not be lost or read: protection, encryption, logs that end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import GROUP, KEY, LOG_GROUP, as_list, environment, statements
from scripts.render import Render, Resource

#: Resources with data that nobody can make again.
_STATEFUL: Final = (
    GROUP,
    KEY,
    "dynamodb/table:Table",
    "s3/bucket:Bucket",
)
#: What holds in prod: type, input, whether its value is right, what is wrong otherwise.
_KEPT: Final[tuple[tuple[str, str, Callable[[Any], bool], str], ...]] = (
    (GROUP, "finalSnapshotIdentifier", bool, "its end leaves no snapshot"),
    (GROUP, "snapshotRetentionLimit", bool, "has no snapshots"),
    ("dynamodb/table:Table", "deletionProtectionEnabled", bool, "AWS may delete it"),
    ("dynamodb/table:Table", "pointInTimeRecovery", lambda found: found == {"enabled": True}, "cannot be restored"),
    ("s3/bucket:Bucket", "forceDestroy", lambda found: not found, "its contents go with it"),
    ("ecr/repository:Repository", "forceDelete", lambda found: not found, "its images go with it"),
)
#: What a service needs to encrypt and to read again.
_ENVELOPE: Final = {"kms:Decrypt", "kms:GenerateDataKey*"}
#: It does not say for whom it writes to a topic: under such a condition it may not.
_EVENTS: Final = "events.amazonaws.com"
_RETENTION: Final = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)


def _protected(render: Render) -> Iterator[Problem]:
    """In prod nothing with data is deleted by a wrong word, and what is deleted leaves a copy."""
    if environment(render) != "prod":
        return
    for type_ in _STATEFUL:
        for resource in render.of_type(type_):
            if not resource.protect:
                yield at(resource, "", "Pulumi may delete it")
    for type_, key, kept, text in _KEPT:
        for resource in render.of_type(type_):
            if not kept(resource.inputs.get(key)):
                yield at(resource, key, text)


def _encrypted(render: Render) -> Iterator[Problem]:
    """Everything that can lies under the stack's key."""
    for type_, path in (
        (LOG_GROUP, ("kmsKeyId",)),
        ("sns/topic:Topic", ("kmsMasterKeyId",)),
        ("secretsmanager/secret:Secret", ("kmsKeyId",)),
        ("dynamodb/table:Table", ("serverSideEncryption", "kmsKeyArn")),
        ("ecr/repository:Repository", ("encryptionConfigurations", "0", "kmsKey")),
    ):
        for resource in render.of_type(type_):
            if _value(resource.inputs, path) is None:
                yield at(resource, ".".join(path), "is missing: it lies under AWS' key")
    for bucket in render.of_type("s3/bucket:Bucket"):
        rules = [
            rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"]
            for found in _of(render, bucket, "s3/bucketServerSideEncryptionConfiguration")
            for rule in found.inputs["rules"]
        ]
        if rules != ["aws:kms"]:
            yield at(bucket, "", "is not encrypted with the stack's key")
    for key in render.of_type(KEY):
        if not key.inputs.get("enableKeyRotation"):
            yield at(key, "enableKeyRotation", "the key stays the same for ever")


def _value(inputs: dict[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = inputs
    for part in path:
        if isinstance(found, list):
            found = found[int(part)] if int(part) < len(found) else None
        elif found is not None:
            found = found.get(part)
    return found


def _of(render: Render, bucket: Resource, type_: str) -> list[Resource]:
    return [
        found
        for found in render.resources
        if f":{type_}:" in found.type and bucket.urn in found.property_dependencies.get("bucket", [])
    ]


def _shut(render: Render) -> Iterator[Problem]:
    """Buckets are closed to the public, and to connections without TLS."""
    for bucket in render.of_type("s3/bucket:Bucket"):
        blocks = _of(render, bucket, "s3/bucketPublicAccessBlock")
        keys = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        if not any(all(block.inputs.get(key) is True for key in keys) for block in blocks):
            yield at(bucket, "", "can be made public")
        denials = [
            statement["Condition"]
            for policy in _of(render, bucket, "s3/bucketPolicy")
            for statement in statements(json.loads(policy.inputs["policy"]))
            if statement["Effect"] == "Deny"
        ]
        if {"Bool": {"aws:SecureTransport": "false"}} not in denials:
            yield at(bucket, "", "answers without TLS")


def _key_policy(render: Render) -> Iterator[Problem]:
    """The services that encrypt without a caller may use the key: the log service, and who writes to the topic."""
    for key in render.of_type(KEY):
        users = _services(key.inputs["policy"])
        wanted = ["logs."] if any(key.urn in _urns(group) for group in render.of_type(LOG_GROUP)) else []
        if any(key.urn in _urns(topic) for topic in render.of_type("sns/topic:Topic")):
            wanted += _writers(render)
        for service in wanted:
            if not any(actions >= _ENVELOPE for name, actions in users.items() if name.startswith(service)):
                yield at(key, "policy", f"{service} may not use it")


def _topic_policy(render: Render) -> Iterator[Problem]:
    """Alarms and events may write to the topic."""
    for policy in render.of_type("sns/topicPolicy:TopicPolicy"):
        for service in _writers(render):
            if "sns:Publish" not in _services(policy.inputs["policy"]).get(service, ()):
                yield at(policy, "policy", f"{service} may not publish")


def _writers(render: Render) -> list[str]:
    events = [_EVENTS] if render.of_type("cloudwatch/eventRule:EventRule") else []
    return ["cloudwatch.amazonaws.com", *events]


def _services(document: str) -> dict[str, set[str]]:
    """Return service -> what a resource's policy allows it."""
    found: dict[str, set[str]] = {}
    for statement in statements(json.loads(document)):
        principal = statement["Principal"]
        sources = any(key.startswith("aws:Source") for test in statement.get("Condition", {}).values() for key in test)
        for service in as_list(principal.get("Service", [])) if isinstance(principal, dict) else []:
            if service == _EVENTS and sources:
                continue
            found.setdefault(service, set()).update(as_list(statement["Action"]))
    return found


def _urns(resource: Resource) -> list[str]:
    return [urn for urns in resource.property_dependencies.values() for urn in urns]


def _retention(render: Render) -> Iterator[Problem]:
    """Logs end some day, on a day that CloudWatch offers."""
    for group in render.of_type(LOG_GROUP):
        days = group.inputs.get("retentionInDays")
        if days not in _RETENTION:
            yield at(group, "retentionInDays", f"{days} is none of {', '.join(map(str, sorted(_RETENTION)))}")


def _secrets(render: Render) -> Iterator[Problem]:
    """A secret's name does not end as its ARN does."""
    for secret in render.of_type("secretsmanager/secret:Secret"):
        name = str(secret.inputs.get("name", ""))
        if len(name) > 7 and name[-7] == "-" and name[-6:].isalnum():
            yield at(secret, "name", f"{name!r} ends in a hyphen and six characters, as AWS ends an ARN")


CHECKS: Final[Checks] = {
    "data.protected": _protected,
    "data.encrypted": _encrypted,
    "data.shut": _shut,
    "data.key-policy": _key_policy,
    "data.topic-policy": _topic_policy,
    "data.retention": _retention,
    "data.secret-names": _secrets,
}
