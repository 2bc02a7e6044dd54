"""Who leads: two beats' leases on a real cluster, and what the monitor tells of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from scripts.localcluster import LocalCluster
from service.beat.leader import KEY, Leader, NotLeadingError, Standing
from service.beat.watch import PATIENCE, BeatWatch
from service.rediscluster.cluster import Cluster
from tests.beat.kit import state

#: Seconds of a lease that no test waits for.
LONG = 600.0


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Cluster]:
    made = state(cluster)
    made.call(KEY, "DEL", KEY)
    yield made
    made.call(KEY, "DEL", KEY)
    made.close()


def beat(client: Cluster, name: str) -> Leader:
    return Leader(client, name, LONG)


def end_lease(client: Cluster, leader: Leader) -> None:
    """As if its time were over, by the server's clock and by its own."""
    client.call(KEY, "HSET", KEY, "till", "0")
    leader._till = 0.0


def test_one_leads_and_the_other_knows_who(client: Cluster) -> None:
    one, two = beat(client, "one"), beat(client, "two")
    assert [one.step(0), two.step(0), one.step(0)] == ["one", "one", "one"]
    assert one.term is not None
    assert (one.term.number, two.term) == (1, None)


def test_who_leaves_is_followed_at_once(client: Cluster) -> None:
    one, two = beat(client, "one"), beat(client, "two")
    one.step(0)
    one.take({"a": "celery", "b": "data_queue"})
    one.leave()
    assert one.term is None
    assert two.step(0) == "two"
    assert two.term is not None
    assert two.term.taken == {"a": "celery", "b": "data_queue"}
    two.leave()
    one.leave()
    assert one.step(0) == "one", "a second leave does not take the lease from somebody"


def test_who_does_not_renew_is_followed_when_its_lease_ends(client: Cluster) -> None:
    one, two = beat(client, "one"), beat(client, "two")
    one.step(0)
    assert two.step(0) == "one"
    end_lease(client, one)
    assert two.step(0) == "two"
    assert one.term is None, "by its own clock, without asking"
    with pytest.raises(NotLeadingError):
        one.take({"a": "celery"})
    assert one.step(0) == "two"


def test_a_lease_that_nobody_took_goes_on_as_a_new_term(client: Cluster) -> None:
    one = beat(client, "one")
    one.step(0)
    one.take({"a": "celery"})
    end_lease(client, one)
    one.step(0)
    assert one.term is not None
    assert (one.term.number, one.term.taken) == (2, {"a": "celery"})


def test_the_first_leader_knows_of_none_before(client: Cluster) -> None:
    one = beat(client, "one")
    one.step(0)
    assert one.term is not None
    assert one.term.taken is None


def test_entries_that_are_gone_are_forgotten(client: Cluster) -> None:
    one, two = beat(client, "one"), beat(client, "two")
    one.step(0)
    one.take({"a": "celery", "b: 1": "celery"})
    one.forget(["a"])
    one.leave()
    two.step(0)
    assert two.term is not None
    assert two.term.taken == {"b: 1": "celery"}


def test_a_lease_that_a_clock_from_the_future_left_does_not_last(client: Cluster) -> None:
    one, two = beat(client, "one"), beat(client, "two")
    one.step(0)
    client.call(KEY, "HSET", KEY, "till", str(10**15))
    assert two.step(0) == "one"
    till, (now, _) = int(client.call(KEY, "HGET", KEY, "till")), client.call(KEY, "TIME")
    assert till <= (int(now) + 1 + LONG) * 1000, "a lease from the moment on that it was seen"
    end_lease(client, one)
    assert two.step(0) == "two"


def test_time_is_the_servers(client: Cluster) -> None:
    one = beat(client, "one")
    one.step(0)
    before = client.call(KEY, "TIME")
    assert abs(one.now() - (int(before[0]) * 1000 + int(before[1]) // 1000)) < 60_000


def test_whoever_waits_is_woken_by_the_end(client: Cluster) -> None:
    one = beat(client, "one")
    one.stop()
    one.wait(LONG)
    assert one.stopped


def test_the_monitor_tells_how_the_leader_is(client: Cluster) -> None:
    one = beat(client, "one")
    watch = BeatWatch(one.standing)
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert watch.data("shop", now) == [], "nothing where no beat ever led"
    one.step(late=2.5)
    standing = one.standing()
    assert standing is not None
    assert (standing.leader, standing.leads, standing.late) == ("one", True, 2.5)
    assert 0 <= standing.age < 60
    told = {entry["MetricName"]: entry for entry in watch.data("shop", now)}
    assert set(told) == {"BeatAge", "ScheduleLate"}
    assert told["ScheduleLate"]["Value"] == 2.5
    assert all(entry["Dimensions"] == [{"Name": "Stack", "Value": "shop"}] for entry in told.values())
    one.leave()
    left = one.standing()
    assert left is not None
    assert not left.leads


def test_a_beat_that_is_expected_and_absent_is_silent() -> None:
    """The cluster forgets a leader after a day, and all of them when it is restored; the monitor does not."""
    seconds, answers = 0.0, iter([None, None, Standing("one", True, 10.0, 20.0, 1.5), None])
    watch = BeatWatch(lambda: next(answers), expected=True, clock=lambda: seconds)
    now = datetime(2026, 1, 2, tzinfo=UTC)

    def values() -> dict[str, float]:
        return {entry["MetricName"]: entry["Value"] for entry in watch.data("shop", now)}

    assert values() == {}, "a new stack's first beat may still start"
    seconds = PATIENCE + 1
    assert values() == {"BeatAge": PATIENCE + 1}
    assert values() == {"BeatAge": 10.0, "ScheduleLate": 1.5}
    seconds += 86_400
    assert values() == {"BeatAge": 86_410.0, "ScheduleLate": 1.5}


def test_a_shard_that_is_away_makes_the_leader_silent(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([Standing("one", True, 10.0, 20.0, 0.0)])

    def read() -> Standing:
        try:
            return next(answers)
        except StopIteration:
            raise RedisConnectionError("away") from None

    watch = BeatWatch(read)
    with caplog.at_level(logging.WARNING):
        first, second = (watch.data("shop", datetime.now(UTC))[0]["Value"] for _ in range(2))
    assert 10 <= first < second
    assert "the beat could not be read: away" in caplog.text
