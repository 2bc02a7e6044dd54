"""Letters in a DynamoDB table; those that are too large for an item keep their message in S3.

The table's key is `id`. The index `unhandled` holds the letters that wait for somebody, by queue and time of death:
only they have the attribute of that name. `expires` is when DynamoDB removes a letter, in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any, TypeVar

import boto3
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service import fleet
from service.deadletters.letter import UNHANDLED, Handling, Letter, Selection, State, Summary
from service.deadletters.store import DAY_MS, NoLetterError, StoreError

T = TypeVar("T")

#: Bytes of a message that still go into the item; DynamoDB takes 400 KB with everything else.
INLINE = 300_000
_SUMMARY = tuple(field.name for field in fields(Summary))
_LETTER = frozenset(field.name for field in fields(Letter))
_serialize, _deserialize = TypeSerializer().serialize, TypeDeserializer().deserialize


class DynamoStore:
    """A table and a bucket. See `store.Store`."""

    def __init__(
        self,
        table: str,
        bucket: str,
        days: int,
        *,
        region: str | None = None,
        queues: Iterable[str] = fleet.QUEUE_NAMES,
    ) -> None:
        """Nothing is asked yet; letters are kept for `days` days, and looked for in `queues`."""
        self._table, self._bucket, self._keep = table, bucket, days * DAY_MS // 1000
        self._queues = tuple(queues)
        # An endpoint that is away must not hold up whoever asks.
        config = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
        self._dynamodb: Any = boto3.client("dynamodb", region_name=region, config=config)
        self._s3: Any = boto3.client("s3", region_name=region, config=config)

    def put(self, letter: Letter) -> bool:
        """See `store.Store`."""
        item: dict[str, Any] = asdict(letter)
        # Counted from now: it may have lain on its list for long.
        item[fleet.LETTERS_EXPIRY] = int(time.time()) + self._keep
        item[fleet.LETTERS_INDEX] = letter.queue
        if len(letter.payload) > INLINE:
            # First the message, then what points to it.
            key, body = f"{fleet.LETTERS_FOLDER}/{letter.id}", item.pop("payload")
            self._ask(lambda: self._s3.put_object(Bucket=self._bucket, Key=key, Body=body), "S3")
            item["object"] = key
        return self._conditional(
            lambda: self._dynamodb.put_item(
                TableName=self._table, Item=_item(item), ConditionExpression="attribute_not_exists(id)"
            )
        )

    def get(self, letter_id: str) -> Letter:
        """See `store.Store`."""
        answer = self._ask(
            lambda: self._dynamodb.get_item(TableName=self._table, Key=_item({"id": letter_id}), ConsistentRead=True)
        )
        if "Item" not in answer:
            raise NoLetterError(letter_id)
        values = _values(answer["Item"])
        if "object" in values:
            values["payload"] = self._ask(
                lambda: self._s3.get_object(Bucket=self._bucket, Key=values["object"])["Body"].read(), "S3"
            )
        return Letter(**{name: value for name, value in values.items() if name in _LETTER})

    def find(self, wanted: Selection) -> Iterator[Summary]:
        """See `store.Store`."""
        for item in self._unhandled(wanted) if set(wanted.states) <= set(UNHANDLED) else self._all():
            values = _values(item)
            letter = Summary(**{name: values[name] for name in _SUMMARY})
            if wanted.fits(letter):
                yield letter

    def _unhandled(self, wanted: Selection) -> Iterator[dict[str, Any]]:
        for queue in self._queues if wanted.queue is None else (wanted.queue,):
            between = {":since": wanted.since or 0, ":until": wanted.until or 1 << 53}
            yield from self._pages(
                self._dynamodb.query,
                IndexName=fleet.LETTERS_INDEX,
                KeyConditionExpression=(
                    f"{fleet.LETTERS_INDEX} = :queue AND {fleet.LETTERS_ORDER} BETWEEN :since AND :until"
                ),
                ExpressionAttributeValues=_item({":queue": queue, **between}),
            )

    def _all(self) -> Iterator[dict[str, Any]]:
        names = {f"#{name}": name for name in _SUMMARY}
        yield from self._pages(
            self._dynamodb.scan, ProjectionExpression=", ".join(names), ExpressionAttributeNames=names
        )

    def _pages(self, ask: Callable[..., Any], **request: Any) -> Iterator[dict[str, Any]]:
        request["TableName"] = self._table
        while True:
            page = self._ask(lambda: ask(**request))
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def move(self, letter_id: str, expected: Collection[State], handling: Handling) -> bool:
        """See `store.Store`."""
        states = {f":expected{number}": state for number, state in enumerate(expected)}
        values = {":state": handling.state, ":at": handling.at, ":by": handling.by, ":target": handling.target}
        update = "SET #state = :state, handled_at = :at, handled_by = :by, target = :target"
        names = {"#state": "state"}
        if handling.state in UNHANDLED:
            names["#queue"] = "queue"
            update += f", {fleet.LETTERS_INDEX} = #queue"
        else:
            update += f" REMOVE {fleet.LETTERS_INDEX}"
        return self._conditional(
            lambda: self._dynamodb.update_item(
                TableName=self._table,
                Key=_item({"id": letter_id}),
                UpdateExpression=update,
                ConditionExpression=f"#state IN ({', '.join(states)})",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=_item({**values, **states}),
            )
        )

    def count(self, queue: str) -> int:
        """See `store.Store`."""
        answer = self._ask(
            lambda: self._dynamodb.query(
                TableName=self._table,
                IndexName=fleet.LETTERS_INDEX,
                Select="COUNT",
                KeyConditionExpression=f"{fleet.LETTERS_INDEX} = :queue",
                ExpressionAttributeValues=_item({":queue": queue}),
            )
        )
        return int(answer["Count"])

    def _conditional(self, ask: Callable[[], object]) -> bool:
        """Ask for something under a condition; returns whether the condition held."""
        try:
            self._ask(ask)
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _ask(self, ask: Callable[[], T], whom: str = "DynamoDB") -> T:
        try:
            return ask()
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"{whom}: {error}") from error


def _item(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in values.items()}


def _values(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(_deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    # The stubs lack the attribute.
    return getattr(value, "value") if isinstance(value, Binary) else value  # noqa: B009
