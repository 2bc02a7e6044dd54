"""The scripts, each on a real cluster: what a message's life consists of."""

import time
from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import pytest
from redis import exceptions

from scripts.localcluster import LocalCluster
from service.rediscluster.broker import Ack, Broker, Delivery, NoQueueError
from service.rediscluster.keys import QueueKeys
from service.rediscluster.options import parse
from tests.rediscluster.faultkit import come_due, end_leases, eventually

#: Seconds: what ends, the tests end.
LEASE = 3600.0


class Bench:
    """One queue and whoever works on it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.queue = QueueKeys(broker.options.key_prefix, f"bench-{uuid4().hex}")
        self._numbers = count(1)
        self._leases: dict[str, int] = {}
        broker.declare(self.queue)

    def publish(self, payload: str, priority: int = 0, due_ms: int = 0, lane: tuple[str, int] | None = None) -> bool:
        name, number = lane or ("lane", next(self._numbers))
        return self.broker.publish(
            self.queue,
            payload.encode(),
            message_id=uuid4().hex,
            lane=name,
            number=number,
            priority=priority,
            due_ms=due_ms,
        )

    def settle(
        self,
        wanted: int,
        acks: list[Ack] | None = None,
        session: str = "me",
        first: int | None = None,
        attempt: int = 0,
    ) -> list[Delivery]:
        start = self._leases.get(session, 1) if first is None else first
        self._leases[session] = start + max(wanted, 0)
        return self.broker.settle(self.queue, session, wanted, start, acks or [], attempt).deliveries

    def take(self, wanted: int = 1, session: str = "me") -> list[str]:
        return [delivery.payload.decode() for delivery in self.settle(wanted, session=session)]

    def stats(self) -> dict[str, int]:
        exists, delayed, due, leased, dead, _, _, _, ready = self.broker.stats(self.queue)
        return {
            "exists": exists,
            "delayed": delayed,
            "due": due,
            "leased": leased,
            "dead": dead,
            "ready": sum(ready),
        }

    def recover(self, session: str = "other") -> list[Delivery]:
        """Take what another holder's ended lease gives back, as an idle consumer does."""
        end_leases(self.broker, self.queue)
        return self.settle(1, session=session)


@pytest.fixture(scope="module")
def broker(cluster: LocalCluster) -> Iterator[Broker]:
    started = Broker(parse(cluster.url, {"lease": LEASE, "socket_timeout": 60, "delivery_limit": 2}))
    yield started
    started.cluster.close()


@pytest.fixture
def bench(broker: Broker) -> Iterator[Bench]:
    bench = Bench(broker)
    yield bench
    broker.drop(bench.queue)


def test_first_in_first_out_inside_a_priority_and_higher_first(bench: Bench) -> None:
    for number, priority in enumerate([0, 5, 10, 5, 0, 10]):
        bench.publish(str(number), priority)
    assert bench.take(6) == ["2", "5", "1", "3", "0", "4"]


def test_a_message_is_in_exactly_one_place(bench: Bench) -> None:
    bench.publish("a")
    assert bench.stats() | {"exists": 1} == {
        "exists": 1, "ready": 1, "leased": 0, "delayed": 0, "due": 0, "dead": 0,
    }  # fmt: skip
    [delivery] = bench.settle(1)
    assert (bench.stats()["ready"], bench.stats()["leased"]) == (0, 1)
    bench.settle(0, [delivery.ack])
    assert (bench.stats()["ready"], bench.stats()["leased"]) == (0, 0)


def test_publishing_again_in_the_same_lane_stores_once_even_after_it_was_done(bench: Bench) -> None:
    assert bench.publish("a", lane=("producer", 1))
    assert not bench.publish("a", lane=("producer", 1))
    [delivery] = bench.settle(5)
    bench.settle(0, [delivery.ack])
    assert not bench.publish("a", lane=("producer", 1))
    assert bench.publish("b", lane=("producer", 2))
    assert bench.take(5) == ["b"]


def test_a_repeated_request_returns_the_same_leases(bench: Bench) -> None:
    for name in "abc":
        bench.publish(name)
    lost = bench.settle(2, first=1)
    again = bench.settle(2, first=1, attempt=1)
    assert [d.tag for d in again] == [d.tag for d in lost]
    assert bench.take(5) == ["c"]


def test_a_request_that_was_overtaken_by_its_repetition_takes_nothing_away(bench: Bench) -> None:
    bench.publish("a")
    bench.publish("b")
    [held] = bench.settle(1, first=1, attempt=1)
    assert bench.settle(1, first=1, attempt=0) == []
    assert bench.broker.renew(bench.queue, [held.ack.lease]) == []
    assert bench.take() == ["b"]


def test_a_lease_that_is_not_renewed_ends_and_the_message_regains_its_place(bench: Bench) -> None:
    bench.publish("first")
    bench.publish("second")
    [held] = bench.settle(1, session="dead")
    assert held.payload == b"first"
    [back] = bench.recover()
    assert (back.payload, back.losses, back.returns) == (b"first", 1, 1)
    assert back.tag != held.tag


def test_a_renewed_lease_outlives_its_term(bench: Bench) -> None:
    bench.publish("long")
    [held] = bench.settle(1)
    for _ in range(4):
        end_leases(bench.broker, bench.queue)
        assert bench.broker.renew(bench.queue, [held.ack.lease]) == []
        assert bench.take(session="other") == []
    assert bench.stats()["leased"] == 1


def test_a_superseded_holder_changes_nothing(bench: Bench) -> None:
    bench.publish("a")
    [old] = bench.settle(1, session="slow")
    [new] = bench.recover()
    bench.settle(0, [old.ack])
    assert bench.broker.renew(bench.queue, [old.ack.lease]) == [old.ack.lease]
    assert bench.broker.release(bench.queue, [old.ack.lease], lost=True) == 0
    assert bench.stats()["leased"] == 1
    assert bench.broker.renew(bench.queue, [new.ack.lease]) == []


def test_a_late_ack_cancels_the_copy_that_nobody_has_taken(bench: Bench) -> None:
    bench.publish("a")
    bench.publish("b")
    [held] = bench.settle(1)
    bench.broker.release(bench.queue, [held.ack.lease], lost=True)
    bench.settle(0, [held.ack])
    assert bench.take(5) == ["b"]


def test_returned_messages_regain_their_places(bench: Bench) -> None:
    for number in range(6):
        bench.publish(str(number), priority=5)
    held = bench.settle(4)
    bench.broker.release(bench.queue, [held[2].ack.lease, held[0].ack.lease], lost=False)
    assert bench.take(9) == ["0", "2", "4", "5"]


def test_past_the_delivery_limit_a_message_is_dead_with_its_reason(bench: Bench) -> None:
    bench.publish("poison")
    for _ in range(3):
        [held] = bench.settle(1)
        assert bench.broker.release(bench.queue, [held.ack.lease], lost=True) == 1
    assert bench.settle(1) == []
    assert bench.stats() | {"dead": 1} == bench.stats()
    [dead] = [m for m in bench.broker.cluster.call(bench.queue.dead, "ZRANGE", bench.queue.dead, 0, -1) if m]
    assert dead.startswith(b"delivery-limit ")
    assert dead.endswith(b":poison")


def test_a_return_at_shutdown_does_not_count(bench: Bench) -> None:
    bench.publish("a")
    for _ in range(10):
        [held] = bench.settle(1)
        bench.broker.release(bench.queue, [held.ack.lease], lost=False)
    [held] = bench.settle(1)
    assert (held.losses, held.returns) == (0, 10)


def test_a_delayed_message_waits_in_the_cluster_and_counts_once_due(bench: Bench) -> None:
    bench.publish("later", priority=9, due_ms=int(time.time() * 1000) + 60_000)
    bench.publish("now")
    assert bench.take(5) == ["now"]
    assert (bench.stats()["delayed"], bench.stats()["due"]) == (1, 0)
    # Nobody consumes: it still becomes backlog.
    come_due(bench.broker, bench.queue)
    assert bench.stats()["due"] == 1
    [delivery] = bench.settle(1)
    assert (delivery.payload, delivery.priority) == (b"later", 9)


def test_one_consumer_watches_the_clock_and_hands_it_on(bench: Bench) -> None:
    bench.publish("later", due_ms=int(time.time() * 1000) + 1_800_000)
    settle = bench.broker.settle
    mine = settle(bench.queue, "me", 1, 1).watch
    assert mine is not None
    assert 1500 < mine < 1801
    assert settle(bench.queue, "other", 1, 1).watch is None
    bench.publish("work")
    assert len(settle(bench.queue, "me", 1, 2).deliveries) == 1  # no credit is left: it will not block
    assert settle(bench.queue, "other", 1, 2).watch is not None


def test_giving_back_with_a_delay(bench: Bench) -> None:
    bench.publish("a")
    [held] = bench.settle(1)
    bench.broker.release(bench.queue, [held.ack.lease], lost=False, delay=60)
    assert bench.settle(1) == []
    assert bench.stats()["delayed"] == 1
    come_due(bench.broker, bench.queue)
    assert bench.take() == ["a"]


def test_nothing_expires_for_one_lease_after_nobody_looked(bench: Bench) -> None:
    bench.publish("a")
    bench.settle(1, session="frozen")
    end_leases(bench.broker, bench.queue)
    # Everyone was away for longer than a lease: the holder could not have renewed either.
    call, meta, lease = bench.broker.cluster.call, bench.queue.meta, int(LEASE * 1000)
    before = int(time.time() * 1000)
    call(meta, "HSET", meta, "seen", before - 3 * lease // 2)
    assert bench.take(session="other") == []
    assert bench.stats()["leased"] == 1
    assert before + lease <= int(call(meta, "HGET", meta, "quiet_until")) <= int(time.time() * 1000) + lease
    [back] = bench.recover()
    assert back.losses == 1


def test_wake_tokens_do_not_pile_up_and_remain_while_work_does(bench: Bench) -> None:
    call, wake = bench.broker.cluster.call, bench.queue.wake
    for number in range(5):
        bench.publish(str(number))
    assert call(wake, "LLEN", wake) == 1
    call(wake, "LPOP", wake)
    assert bench.take() == ["0"]
    assert call(wake, "LLEN", wake) == 1
    call(wake, "LPOP", wake)
    assert len(bench.take(9)) == 4
    assert call(wake, "LLEN", wake) == 0


def test_purge_takes_what_nobody_holds(bench: Bench) -> None:
    for number in range(4):
        bench.publish(str(number))
    bench.publish("later", due_ms=int(time.time() * 1000) + 60_000)
    bench.settle(1)
    assert bench.broker.purge(bench.queue) == 4
    assert bench.stats() == {"exists": 1, "ready": 0, "leased": 1, "delayed": 0, "due": 0, "dead": 0}
    bench.publish("again")
    assert bench.take() == ["again"]


def test_a_queue_that_does_not_exist_says_so(broker: Broker) -> None:
    queue = QueueKeys(broker.options.key_prefix, f"absent-{uuid4().hex}")
    with pytest.raises(NoQueueError):
        broker.publish(queue, b"x", message_id="m", lane="l", number=1)
    with pytest.raises(NoQueueError):
        broker.settle(queue, "me", 1, 1)
    assert not broker.exists(queue)
    assert broker.purge(queue) == 0


def test_no_key_is_ever_empty(bench: Bench) -> None:
    call = bench.broker.cluster.call

    def there() -> set[str]:
        return {key for key in bench.queue.every if call(key, "EXISTS", key)}

    everything = set(bench.queue.every)
    assert there() == everything
    bench.publish("a")
    [held] = bench.settle(1)
    bench.settle(0, [held.ack])
    bench.publish("b")
    bench.broker.purge(bench.queue)
    assert there() == everything


def test_a_temporary_queue_goes_away_as_a_whole(bench: Bench) -> None:
    bench.publish("a")
    bench.broker.touch(bench.queue, 1)
    eventually(lambda: not bench.broker.exists(bench.queue), "it is gone")
    call = bench.broker.cluster.call
    assert [key for key in bench.queue.every if call(key, "EXISTS", key)] == []


def test_the_workers_user_can_do_nothing_administrative(bench: Bench) -> None:
    cluster = bench.broker.cluster
    for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("DEBUG", "SLEEP", "0"), ("ACL", "LIST")):
        with pytest.raises(exceptions.NoPermissionError):
            cluster.once(bench.queue.meta, *command)
    with pytest.raises(exceptions.NoPermissionError):
        cluster.once("elsewhere", "GET", "elsewhere")
