"""Where dead letters are kept: encrypted, recoverable, shut, and open to one service alone."""

from __future__ import annotations

import json
from typing import Any

from scripts.checks.requests import REQUESTS
from scripts.render import Render
from scripts.render.services import services
from service import fleet
from tests.deadletters.tables import TABLE


def grants(render: Render, service: str) -> dict[str, dict[str, Any]]:
    policy = render.one("rolePolicy:RolePolicy", f"{service}-task").inputs["policy"]
    return {action: s for s in json.loads(policy)["Statement"] for action in s["Action"]}


def test_the_table_is_encrypted_recoverable_and_forgets(staging: Render, prod: Render) -> None:
    for stack, protected in ((staging, False), (prod, True)):
        table = stack.one("dynamodb/table:Table")
        created = REQUESTS[table.type].build(table.inputs)
        assert {name: created[name] for name in TABLE} == TABLE, "the one that the store is tested with"
        assert table.property_dependencies["serverSideEncryption"] == [stack.one("kms/key:Key").urn]
        assert table.inputs["pointInTimeRecovery"] == {"enabled": True}
        assert table.inputs["ttl"] == {"attributeName": fleet.LETTERS_EXPIRY, "enabled": True}
        assert table.inputs["deletionProtectionEnabled"] is protected


def test_the_bucket_is_encrypted_shut_and_forgets_later(stack: Render) -> None:
    (rule,) = stack.one(":BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms"
    shut = stack.one(":BucketPublicAccessBlock").inputs
    assert [value for name, value in shut.items() if name != "bucket"] == [True] * 4
    (deny,) = json.loads(stack.one(":BucketPolicy").inputs["policy"])["Statement"]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    (expiry,) = stack.one(":BucketLifecycleConfiguration").inputs["rules"]
    (keeper,) = (service for service in services(stack) if service.queue == fleet.DEAD_LETTER_QUEUE.name)
    assert expiry["expiration"]["days"] > int(keeper.environment["FLEET_LETTERS_DAYS"])
    assert expiry["filter"] == {"prefix": f"{fleet.LETTERS_FOLDER}/"}


def test_one_service_keeps_letters_and_may_do_just_that(stack: Render) -> None:
    table, bucket = stack.one("dynamodb/table:Table").inputs["name"], stack.one("s3/bucket:Bucket").inputs["bucket"]
    for service in services(stack):
        keeps = service.queue == fleet.DEAD_LETTER_QUEUE.name
        wanted = (table, bucket) if keeps else (None, None)
        names = ("FLEET_LETTERS_TABLE", "FLEET_LETTERS_BUCKET")
        assert tuple(service.environment.get(name) for name in names) == wanted
        if service.role == "beat":
            # It calls nothing of AWS, and may call nothing.
            continue
        granted = grants(stack, service.name.removeprefix(f"celery-fleet-{stack.stack}-"))
        assert ("dynamodb:PutItem" in granted) is keeps
        if keeps:
            here = f"arn:aws:dynamodb:eu-central-1:123456789012:table/{table}"
            assert granted["dynamodb:Query"]["Resource"] == [here, f"{here}/index/{fleet.LETTERS_INDEX}"]
            assert granted["s3:PutObject"]["Resource"] == [f"arn:aws:s3:::{bucket}/{fleet.LETTERS_FOLDER}/*"]
            assert not {action for action in granted if action.endswith("*") and not action.startswith("kms:")}
            assert "dynamodb:DeleteItem" not in granted, "letters go by their expiry alone"
