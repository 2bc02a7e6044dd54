"""The table of queues: every process works with those that it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from scripts.localcluster import LocalCluster
from service import fleet, queues
from service.app import create_app
from service.rediscluster import BrokerInspector
from service.routing import Routing
from service.settings import Settings, SettingsError, load_settings
from tests.service.running import container, environment

#: The built-in queues, one of their own in three parts, and one switched off.
QUEUES = (
    *(queue for queue in fleet.ALL_QUEUES if queue.name not in ("workflow_queue", "celery")),
    fleet.Queue("celery", 2),
    fleet.Queue("reports_queue", 4, partitions=3),
)
TABLE = fleet.queue_table(QUEUES)


def test_the_table_arrives_as_it_was_sent() -> None:
    """Highest priority first, which is the order in which a worker looks at its queues."""
    read = queues.parse(TABLE)
    assert [(queue.name, queue.priority, queue.partitions) for queue in read] == [
        ("high_priority_queue", 10, 1),
        ("sync_queue", 7, 1),
        ("data_queue", 5, 1),
        ("reports_queue", 4, 3),
        ("monitoring_queue", 3, 1),
        ("celery", 2, 1),
        ("dead_letter", 0, 1),
    ]
    assert queues.parse(fleet.queue_table(fleet.ALL_QUEUES)) == fleet.ALL_QUEUES


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("{", "the table: Invalid JSON"),
        ("[]", "the table: should be an object"),
        ('{"celery": {}}', "celery.priority: Field required"),
        ('{"celery": {"priority": 11}}', "celery.priority: should be less than or equal to 10"),
        (
            '{"celery": {"priority": 1, "partitions": 65}}',
            "celery.partitions: should be less than or equal to 64",
        ),
        ('{"celery": {"priority": 1, "pool": "solo"}}', "celery.pool: Extra inputs are not permitted"),
        ('{"celery": {"priority": 1}}', "dead_letter must be among the queues"),
        ("{}", "celery and dead_letter must be among the queues"),
    ],
)
def test_a_wrong_table_is_one_line(monkeypatch: pytest.MonkeyPatch, table: str, said: str) -> None:
    monkeypatch.setenv("FLEET_QUEUE_TABLE", table)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (line,) = caught.value.problems
    assert line.startswith("FLEET_QUEUE_TABLE: ")
    assert said in line


def test_a_worker_that_is_not_told_serves_every_queue_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_QUEUE_TABLE", TABLE)
    assert load_settings().queues == tuple(queue.name for queue in queues.parse(TABLE))[:-1]
    monkeypatch.setenv("FLEET_QUEUES", "workflow_queue")
    with pytest.raises(SettingsError, match="unknown queue workflow_queue; the queues are high_priority_queue"):
        load_settings()


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("shop.reports.monthly.build", "reports_queue"),
        ("shop.workflow.merge", "celery"),
        ("celery.chord_unlock", "celery"),
        ("shop.sync.pull", "sync_queue"),
    ],
)
def test_tasks_are_routed_by_the_table(task: str, queue: str) -> None:
    """What belongs to a queue that is switched off goes to the default queue."""
    assert Routing(QUEUES).queue_of(task) == queue
    options = create_app(Settings(queue_table=QUEUES)).amqp.router.route({}, task)
    assert options["queue"].name == queue
    assert options["priority"] == {found.name: found.priority for found in QUEUES}[queue]


def test_letters_are_replayed_to_queues_of_the_table_only(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.deadletters", "replay", "x", "--to", "workflow_queue"],
        env={"FLEET_QUEUE_TABLE": TABLE, "FLEET_LETTERS_FILE": str(tmp_path / "letters")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--to workflow_queue: no such queue; the queues are high_priority_queue, ")


def test_publisher_and_worker_agree_on_a_queue_of_their_own_and_its_parts(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """All that the publisher spreads over the parts is served, and what it counts is what there is."""
    app = create_app(
        Settings(
            redis_host="127.0.0.1",
            redis_port=cluster.primaries[0].port,
            redis_username=cluster.username,
            redis_password=SecretStr(cluster.password),
            queue_table=QUEUES,
        )
    )
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    sent = [app.send_task("service.tasks.default.digest_text", args=("a b",), queue="reports_queue") for _ in range(30)]
    parts = [part.stats.depth for part in inspector.parts("reports_queue")]
    assert (len(parts), sum(parts)) == (3, 30)
    assert all(parts)
    values = environment(cluster, tmp_path, FLEET_QUEUE_TABLE=TABLE, FLEET_QUEUES="reports_queue")
    with container("worker", values, tmp_path) as worker:
        assert [result.get(timeout=120)["words"] for result in sent] == [2] * 30
        assert worker.stop(60) == 0
    assert inspector.stats("reports_queue").depth == 0
    inspector.close()
    app.close()
