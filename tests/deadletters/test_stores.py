"""Both stores behave alike. DynamoDB and S3 are moto's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from service import fleet
from service.deadletters.dynamodb import INLINE, DynamoStore
from service.deadletters.gauge import Gauge
from service.deadletters.letter import STATES, Handling, Letter, Selection, Summary
from service.deadletters.sqlite import SqliteStore
from service.deadletters.store import NoLetterError, Store, StoreError, open_store
from service.settings import Settings
from tests.deadletters.tables import TABLE as DEFINITION

REGION, TABLE, BUCKET = "eu-central-1", "celery-fleet-staging-letters", "letters-bucket"
NOW = int(time.time() * 1000)
LETTER = Letter(
    id="1f",
    queue="data_queue",
    task="shop.pay",
    task_id="task-1",
    reason="failed",
    exception="ValueError('no')",
    died=NOW - 60_000,
    traceback="Traceback…",
    worker="data@host",
    priority=5,
    losses=1,
    returns=2,
    payload=b'{"headers":{}}\n\xff\x00body',
)
OTHERS = (
    replace(LETTER, id="2f", died=NOW - 50_000, task="shop.ship"),
    replace(LETTER, id="3f", died=NOW - 40_000, reason="time-limit"),
    replace(LETTER, id="4f", died=NOW - 30_000, queue="sync_queue"),
)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        boto3.client("dynamodb", region_name=REGION).create_table(TableName=TABLE, **DEFINITION)
        where: Any = {"LocationConstraint": REGION}
        boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        yield


@pytest.fixture(params=["sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "letters.sqlite", 30)
    request.getfixturevalue("aws")
    return DynamoStore(TABLE, BUCKET, 30, region=REGION)


def handling(state: Any) -> Handling:
    return Handling(state, NOW, "me", "sync_queue" if state.startswith("repl") else "")


def test_a_letter_is_kept_once_and_as_it_is(store: Store) -> None:
    assert store.put(LETTER) is True
    assert store.move("1f", ["open"], handling("discarded")) is True
    assert store.put(LETTER) is False, "whoever drains it again changes nothing"
    assert store.get("1f") == replace(LETTER, state="discarded", handled_at=NOW, handled_by="me")
    with pytest.raises(NoLetterError):
        store.get("nothing")


def test_a_large_letter_is_kept_too(store: Store) -> None:
    large = replace(LETTER, payload=b"x" * (INLINE + 200_000), traceback="t" * 16_000)
    assert store.put(large) is True
    assert store.put(large) is False
    assert store.get("1f") == large


def test_letters_are_found_by_what_is_asked_for(store: Store) -> None:
    for letter in (LETTER, *OTHERS):
        store.put(letter)
    store.move("2f", ["open"], handling("replaying"))

    def ids(**wanted: Any) -> set[str]:
        return {letter.id for letter in store.find(Selection(**wanted))}

    assert [letter.id for letter in store.find(Selection("data_queue"))] == ["1f", "2f", "3f"], "the oldest first"
    assert ids() == {"1f", "2f", "3f", "4f"}
    assert ids(queue="sync_queue") == {"4f"}
    assert ids(task="shop.pay", reason="failed") == {"1f", "4f"}
    assert ids(since=NOW - 50_000, until=NOW - 30_000) == {"2f", "3f"}
    store.move("2f", ["replaying"], handling("replayed"))
    store.move("1f", ["open"], handling("discarded"))
    assert ids() == {"3f", "4f"}
    assert ids(states=("replayed",)) == {"2f"}
    assert ids(states=STATES) == {"1f", "2f", "3f", "4f"}
    summary = next(store.find(Selection(states=("replayed",))))
    assert summary == Summary(
        **{field.name: getattr(store.get("2f"), field.name) for field in fields(Summary)},
    )
    assert (store.count("data_queue"), store.count("sync_queue"), store.count("celery")) == (1, 1, 0)


def test_a_state_changes_only_from_those_expected(store: Store) -> None:
    store.put(LETTER)
    assert store.move("1f", ["discarded"], handling("replaying")) is False
    assert store.move("1f", ["open", "discarded"], handling("replaying")) is True
    assert store.move("1f", ["open"], handling("discarded")) is False
    assert store.get("1f").state == "replaying"
    assert store.move("nothing", ["open"], handling("discarded")) is False
    store.move("1f", ["replaying"], handling("discarded"))
    assert store.count("data_queue") == 0
    store.move("1f", ["discarded"], handling("replaying"))
    assert store.count("data_queue") == 1, "it waits for somebody again"


@pytest.mark.usefixtures("aws")
def test_letters_go_in_time(tmp_path: Path) -> None:
    clock = [time.time()]
    local = SqliteStore(tmp_path / "letters.sqlite", 30, now=lambda: clock[0])
    old = replace(LETTER, died=NOW - 100 * 86_400_000)
    local.put(old)
    clock[0] += 29 * 86_400
    local.put(OTHERS[0])
    assert [letter.id for letter in local.find(Selection())] == ["1f", "2f"], "counted from when it was stored"
    clock[0] += 2 * 86_400
    local.put(OTHERS[1])
    assert [letter.id for letter in local.find(Selection())] == ["2f", "3f"]
    DynamoStore(TABLE, BUCKET, 30, region=REGION).put(old)
    item = boto3.client("dynamodb", region_name=REGION).get_item(TableName=TABLE, Key={"id": {"S": "1f"}})["Item"]
    assert int(item[fleet.LETTERS_EXPIRY]["N"]) == pytest.approx(time.time() + 30 * 86_400, abs=60)


@pytest.mark.usefixtures("aws")
def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    for away in (SqliteStore(tmp_path / "no" / "letters.sqlite", 30), DynamoStore("none", "none", 30, region=REGION)):
        for ask in (
            lambda away=away: away.put(replace(LETTER, payload=b"x" * (INLINE + 1))),
            lambda away=away: away.put(LETTER),
            lambda away=away: away.get("1f"),
            lambda away=away: list(away.find(Selection())),
            lambda away=away: away.count("data_queue"),
            lambda away=away: away.move("1f", ["open"], handling("discarded")),
        ):
            with pytest.raises(StoreError):
                ask()


@pytest.mark.usefixtures("aws")
def test_the_settings_name_the_store(tmp_path: Path) -> None:
    assert open_store(Settings()) is None
    assert isinstance(open_store(Settings(letters_file=tmp_path / "x")), SqliteStore)
    assert isinstance(open_store(Settings(letters_table="t", letters_bucket="b")), DynamoStore)


def test_lists_of_the_table_show_what_a_summary_has() -> None:
    keys = {fleet.LETTERS_KEY, fleet.LETTERS_ORDER}
    assert {field.name for field in fields(Summary)} == keys | set(fleet.LETTERS_SHOWN)


@pytest.mark.usefixtures("aws")
def test_the_gauge_tells_cloudwatch_what_waits() -> None:
    settings = Settings(stack="shop", letters_table=TABLE, letters_bucket=BUCKET)
    store = open_store(settings)
    assert store is not None
    store.put(LETTER)
    Gauge(settings, store, ("data_queue", "sync_queue")).publish()
    cloudwatch = boto3.client("cloudwatch", region_name=REGION)
    told = {}
    for queue in ("data_queue", "sync_queue"):
        (point,) = cloudwatch.get_metric_statistics(
            Namespace=fleet.METRIC_NAMESPACE,
            MetricName=fleet.METRIC_LETTERS,
            Dimensions=[
                {"Name": fleet.DIMENSION_STACK, "Value": "shop"},
                {"Name": fleet.DIMENSION_QUEUE, "Value": queue},
            ],
            StartTime=datetime.now(UTC) - timedelta(minutes=5),
            EndTime=datetime.now(UTC) + timedelta(minutes=5),
            Period=600,
            Statistics=["Maximum"],
        )["Datapoints"]
        told[queue] = point["Maximum"]
    assert told == {"data_queue": 1.0, "sync_queue": 0.0}


@pytest.mark.usefixtures("aws")
def test_the_gauge_outlives_whatever_happens(tmp_path: Path) -> None:
    stopping = threading.Event()

    class Surprising(SqliteStore):
        asked = 0

        def count(self, queue: str) -> int:
            self.asked += 1
            if self.asked > 1:
                stopping.set()
            raise LookupError("a surprise")

    store = Surprising(tmp_path / "letters.sqlite", 30)
    Gauge(Settings(stack="shop"), store, ("data_queue",)).run(stopping, 0.01)
    assert store.asked == 2
