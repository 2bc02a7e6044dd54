"""Beats on a real cluster: through every fault each tick arrives, and once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import fleet
from service.beat.leader import KEY
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
    standing,
)
from tests.conftest import ClusterFactory
from tests.rediscluster.faultkit import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BOTH = {"second": every(1), "by_second": by_second}
SCHEDULES = {"second": EVERY_SECOND}


@pytest.fixture
def beats(fresh_cluster: ClusterFactory, tmp_path: Path) -> Iterator[Beats]:
    with beats_on(fresh_cluster(), tmp_path) as started:
        yield started


def two(beats: Beats) -> None:
    """Start two beats, and let the one that leads publish some ticks."""
    beats.wait_ready(beats.start(SCHEDULES), beats.start(SCHEDULES))
    beats.wait_for_ticks("second", 3)


def test_a_killed_leader_is_replaced_and_one_that_is_told_to_stop_hands_over(beats: Beats) -> None:
    two(beats)
    killed = beats.leader()
    killed.container.kill()
    beats.running.remove(killed)
    beats.wait_for_ticks("second", LEASE + 5)
    heir = beats.leader()
    third = beats.start(SCHEDULES)
    beats.wait_ready(third)
    assert heir.container.stop(30) == 0
    assert "leads no longer" in heir.log
    eventually(lambda: third.leads(beats.cluster), "the third leads", PATIENCE)
    beats.wait_for_ticks("second", 3)
    demand_each_once(arrived(beats.cluster), BOTH)


def test_a_frozen_leader_that_wakes_publishes_nothing_twice(beats: Beats) -> None:
    two(beats)
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
    assert other.leads(beats.cluster)
    demand_each_once(arrived(beats.cluster), BOTH)


@pytest.mark.parametrize("what", ["state", "queue"])
def test_a_primary_that_is_killed_takes_no_tick_along(beats: Beats, what: str) -> None:
    two(beats)
    key = KEY if what == "state" else QueueKeys(fleet.BROKER_PREFIX, "celery").meta
    victim = beats.cluster.primary_for(key)
    victim.kill()
    eventually(lambda: beats.cluster.primary_for(key) is not victim, "the replica takes over", PATIENCE)
    beats.wait_for_ticks("second", 15)
    demand_each_once(arrived(beats.cluster), BOTH)
    now = standing(beats.cluster)
    assert now is not None
    assert now.late < 5
