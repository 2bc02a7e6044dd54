"""The table of the letters as `CreateTable` takes it; tests/infra proves that the stack makes this one."""

from __future__ import annotations

from typing import Any

TABLE: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "unhandled", "AttributeType": "S"},
        {"AttributeName": "died", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "unhandled",
            "KeySchema": [
                {"AttributeName": "unhandled", "KeyType": "HASH"},
                {"AttributeName": "died", "KeyType": "RANGE"},
            ],
            "Projection": {
                "ProjectionType": "INCLUDE",
                "NonKeyAttributes": [
                    *("queue", "task", "task_id", "reason", "exception"),
                    *("state", "handled_at", "handled_by", "target"),
                ],
            },
        }
    ],
}
