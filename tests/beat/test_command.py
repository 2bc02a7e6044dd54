"""`python -m service.beat`: what whoever is on call sees and does."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from scripts.localcluster import LocalCluster
from service.beat import __main__ as command
from service.beat.leader import KEY, Leader
from service.rediscluster.kept import KeptLanes
from tests.beat.kit import standing, state
from tests.service.running import client, environment

PROBE = "service.tasks.monitoring.probe_host"


@pytest.fixture
def declared(cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedules = {
        "probe": {"task": PROBE, "every": 3600, "queue": "sync_queue"},
        "old": {"task": PROBE, "cron": "0 0 1 1 *"},
    }
    variables = environment(cluster, tmp_path, FLEET_SCHEDULES=json.dumps(schedules))
    for name, value in variables.items():
        if name.startswith("FLEET_"):
            monkeypatch.setenv(name, value)
    redis = state(cluster)
    redis.call(KEY, "DEL", KEY)
    redis.close()


@pytest.mark.usefixtures("declared")
def test_the_list_says_who_leads_and_what_comes_next(cluster: LocalCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    assert capsys.readouterr().out.startswith("no beat has led for a day\nNAME ")

    redis = state(cluster)
    leader = Leader(redis, "somebody", 60)
    leader.step(late=3)
    lanes, last = KeptLanes(cluster.url), 1_700_000_000_000
    assert lanes.advance("sync_queue", "tick:probe", last) >= last
    year = time.gmtime().tm_year
    assert command.main(["list"]) == 0
    first, _, old, probe = capsys.readouterr().out.splitlines()
    assert first.startswith("somebody leads since ")
    assert first.endswith("its latest tick is late by 3 s")
    assert probe.split()[:2] == ["probe", "sync_queue"]
    assert probe.endswith("2023-11-14 22:13:20  2023-11-14 23:00:00")
    assert old.split()[-3] == "-"
    # It may have become another one meanwhile.
    assert old.endswith((f"{year + 1}-01-01 00:00:00", f"{year + 2}-01-01 00:00:00"))

    leader.leave()
    assert command.main(["list"]) == 0
    assert capsys.readouterr().out.startswith("nobody leads; somebody did until ")
    assert standing(cluster) is not None
    lanes.close()
    redis.close()


@pytest.mark.usefixtures("declared")
def test_a_task_can_be_run_by_hand_beside_its_schedule(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    lanes = KeptLanes(cluster.url)
    before = lanes.last("sync_queue", "tick:probe")
    assert command.main(["run", "probe"]) == 0
    task_id = capsys.readouterr().out.split()[1]
    app = client(cluster)
    with app.connection_for_read() as connection:
        message = app.amqp.queues["sync_queue"](connection.channel()).get(no_ack=True)
    assert message is not None
    assert (message.headers["id"], message.headers["task"]) == (task_id, PROBE)
    assert "beat_due" not in message.headers
    assert lanes.last("sync_queue", "tick:probe") == before
    lanes.close()
    app.close()


@pytest.mark.usefixtures("declared")
def test_a_name_that_is_none_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", "prob"]) == 2
    assert capsys.readouterr().err == "there is no periodic task 'prob'; there are: old, probe\n"


def test_without_a_cluster_it_says_so(
    tmp_path: Path, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(cluster, tmp_path, FLEET_REDIS_PORT="1").items():
        if name.startswith("FLEET_"):
            monkeypatch.setenv(name, value)
    assert command.main(["list"]) == 1
    assert capsys.readouterr().err.startswith("the cluster does not answer: ")
