"""Beats on a real cluster: through every fault and every deployment each tick arrives, and once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.localcluster import LocalCluster, Node
from service import fleet
from service.beat.leader import KEY
from service.fleet import REDIS_ACCESS_STRING
from service.rediscluster.keys import QueueKeys
from tests.beat.kit import (
    EVERY_SECOND,
    LEASE,
    PATIENCE,
    Beats,
    arrived,
    beats_on,
    by_second,
    demand_each_once,
    every,
    forget_everything,
    standing,
)
from tests.beat.seconds import tick
from tests.rediscluster.faultkit import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Entries and when they are due; `by_second` is declared in code.
BOTH = {"second": every(1), "by_second": by_second}
SCHEDULES = {"second": EVERY_SECOND, "minute": {"task": tick.name, "cron": "* * * * *"}}
STATE = KEY
QUEUE = QueueKeys(fleet.BROKER_PREFIX, "celery").meta


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[LocalCluster]:
    """A cluster that these tests break and mend."""
    with LocalCluster(access_string=REDIS_ACCESS_STRING) as started:
        yield started


@pytest.fixture
def beats(own_cluster: LocalCluster, tmp_path: Path) -> Iterator[Beats]:
    forget_everything(own_cluster)
    with beats_on(own_cluster, tmp_path) as started:
        yield started


def start_two(beats: Beats) -> None:
    """Start two beats, and let the one that leads publish some ticks."""
    beats.wait_ready(beats.start(SCHEDULES), beats.start(SCHEDULES))
    beats.wait_for_ticks("second", 3)


def demand(beats: Beats) -> None:
    """Every entry's ticks arrived, and once."""
    ticks = arrived(beats.cluster)
    demand_each_once(ticks, BOTH)
    if any(tick.entry == "minute" for tick in ticks):
        demand_each_once(ticks, {"minute": every(60)})


def test_a_killed_leader_is_replaced_and_one_that_is_told_to_stop_hands_over(beats: Beats) -> None:
    start_two(beats)
    killed = beats.leader()
    killed.container.kill()
    beats.running.remove(killed)
    beats.wait_for_ticks("second", LEASE + 5)
    heir = beats.leader()
    third = beats.start(SCHEDULES)
    beats.wait_ready(third)
    assert heir.container.stop(60) == 0
    assert "leads no longer" in heir.log
    eventually(lambda: third.leads(beats.cluster), "the third leads", PATIENCE)
    beats.wait_for_ticks("second", 3)
    demand(beats)


def test_a_frozen_leader_that_wakes_publishes_nothing_twice(beats: Beats) -> None:
    start_two(beats)
    frozen = beats.leader()
    frozen.signal(signal.SIGSTOP)
    try:
        other = next(beat for beat in beats.running if beat is not frozen)
        eventually(lambda: other.leads(beats.cluster), "the other leads", PATIENCE)
        beats.wait_for_ticks("second", LEASE + 3)
    finally:
        frozen.signal(signal.SIGCONT)
    eventually(lambda: "leads no longer" in frozen.log, "the frozen one knows", PATIENCE)
    beats.wait_for_ticks("second", 3)
    demand(beats)


@pytest.mark.parametrize("key", [STATE, QUEUE], ids=["the-lease", "the-queue"])
def test_a_primary_that_dies_takes_no_tick_along(beats: Beats, key: str) -> None:
    start_two(beats)
    victim = beats.cluster.primary_for(key)
    beats.cluster.kill(victim)
    promoted = beats.cluster.wait_promoted(victim, PATIENCE)
    beats.wait_for_ticks("second", 12)
    demand(beats)
    mend(beats.cluster, victim, promoted)


def test_a_shard_without_room_takes_its_ticks_when_there_is_some(beats: Beats) -> None:
    start_two(beats)
    admin = beats.cluster.admin(beats.cluster.primary_for(QUEUE))
    admin.config_set("maxmemory", 1)
    try:
        eventually(lambda: said(beats, "queue celery takes no ticks"), "the shard is full", PATIENCE)
    finally:
        admin.config_set("maxmemory", 0)
    beats.wait_for_ticks("second", 5)
    demand(beats)
    assert not said(beats, "could not be published")


def said(beats: Beats, text: str) -> bool:
    """Whether a beat has logged this."""
    return any(text in beat.log for beat in beats.running)


def mend(cluster: LocalCluster, victim: Node, promoted: Node) -> None:
    """Start it again, as a replica that has caught up."""
    cluster.restart(victim, PATIENCE)
    eventually(lambda: victim in cluster.replicas_of(promoted), "the lost node is a replica", PATIENCE)
    cluster.wait_until_stable(PATIENCE)


def test_a_deployment_changes_the_schedule_and_nothing_else(beats: Beats) -> None:
    """As ECS does it: a new one that is healthy before an old one goes."""
    before = {**SCHEDULES, "gone": EVERY_SECOND, "changed": EVERY_SECOND, "moved": EVERY_SECOND}
    after = {
        **SCHEDULES,
        "added": EVERY_SECOND,
        "changed": {"task": tick.name, "every": 2},
        "moved": {**EVERY_SECOND, "queue": "monitoring_queue"},
    }
    beats.wait_ready(beats.start(before), beats.start(before))
    beats.wait_for_ticks("moved", 3)
    for old in list(beats.running):
        beats.wait_ready(beats.start(after))
        assert old.container.stop(60) == 0
        beats.running.remove(old)
    beats.wait_for_ticks("added", 6)

    ticks, elsewhere = arrived(beats.cluster), arrived(beats.cluster, "monitoring_queue")
    demand(beats)
    demand_each_once([*ticks, *elsewhere], {"moved": every(1), "added": every(1), "gone": every(1)})
    assert {tick.entry for tick in elsewhere} == {"moved"}
    switched = min(tick.due for tick in elsewhere)
    assert max(tick.due for tick in ticks if tick.entry == "gone") <= switched
    changed = sorted(tick.due for tick in ticks if tick.entry == "changed")
    last_odd = max(due for due in changed if due % 2)
    assert changed == [*range(changed[0], last_odd + 1), *range(last_odd + 1, changed[-1] + 1, 2)]


def test_ticks_wait_for_beats_that_are_all_restarted(beats: Beats) -> None:
    start_two(beats)
    for beat in beats.running:
        beat.container.kill()
    beats.running.clear()
    start_two(beats)
    demand(beats)
    now = standing(beats.cluster)
    assert now is not None
    assert now.leads
