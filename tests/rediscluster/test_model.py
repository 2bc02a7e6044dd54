"""The scripts against a model: whatever is done in whatever order, every message is where the model says it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from scripts.localcluster import LocalCluster
from service.rediscluster.broker import Ack, Broker, Delivery
from service.rediscluster.keys import QueueKeys
from service.rediscluster.options import parse

LIMIT = 1
SESSIONS = ("one", "two")
#: Which deliveries, see `Life.some`.
SOME = st.lists(st.integers(0, 12), max_size=8)


class Life(RuleBasedStateMachine):
    """One queue and its model. Time is made by moving a message's deadline into the past."""

    broker: ClassVar[Broker]

    def __init__(self) -> None:
        super().__init__()
        self.queue = QueueKeys(self.broker.options.key_prefix, f"model-{uuid4().hex}")
        self.broker.declare(self.queue)
        # Nobody has looked before: that would protect every lease for as long as one.
        self.call(self.queue.meta, "HSET", self.queue.meta, "seen", self.now(), "quiet_until", 0)
        self.published = 0
        self.sequence = 0
        self.moments = 0
        self.numbers = dict.fromkeys(SESSIONS, 1)
        #: Place of each message among the ready ones: negative priority, sequence.
        self.places: dict[str, tuple[int, int]] = {}
        self.losses: dict[str, int] = {}
        self.ready: set[str] = set()
        self.delayed: dict[str, int] = {}
        self.due: list[str] = []
        self.leased: dict[str, str] = {}
        self.expired: list[str] = []
        self.dead: set[str] = set()
        self.done: set[str] = set()
        #: Every delivery there ever was: a holder may use it however late.
        self.deliveries: list[Delivery] = []

    def some(self, numbers: list[int]) -> list[Delivery]:
        """The latest deliveries have the smallest numbers."""
        return [self.deliveries[-1 - number] for number in dict.fromkeys(numbers) if number < len(self.deliveries)]

    def teardown(self) -> None:
        self.broker.drop(self.queue)

    def call(self, *command: Any) -> Any:
        return self.broker.cluster.call(command[0], *command[1:])

    def now(self) -> int:
        seconds, micros = self.broker.cluster.once(self.queue.meta, "TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    # -- the model --------------------------------------------------------------------------------------------------

    def becomes_ready(self, name: str, priority: int) -> None:
        self.sequence += 1
        self.places[name] = (-priority, self.sequence)
        self.ready.add(name)

    def comes_back(self, lease: str, *, lost: bool) -> None:
        name = self.leased.pop(lease)
        self.losses[name] += lost
        if self.losses[name] > LIMIT:
            self.dead.add(name)
        else:
            self.ready.add(name)

    def time_passes(self) -> None:
        """What settle and renew do first: promote what is due, take back what dead holders held."""
        for name in self.due:
            self.becomes_ready(name, self.delayed.pop(name))
        self.due.clear()
        for lease in self.expired:
            self.comes_back(lease, lost=True)
        self.expired.clear()

    # -- what can happen --------------------------------------------------------------------------------------------

    @rule(
        priorities=st.lists(st.sampled_from([0, 5, 10]), min_size=1, max_size=5),
        way=st.sampled_from(["wait", "publish", "leave"]),
        again=st.booleans(),
    )
    def publish(self, priorities: list[int], way: str, again: bool) -> None:
        for priority in priorities:
            self.published += 1
            self.losses[f"m{self.published}"] = 0
            if way == "leave":
                self.leave_one(f"m{self.published}", priority, again=again)
            else:
                self.publish_one(f"m{self.published}", priority, wait=way == "wait", again=again)

    def leave_one(self, name: str, priority: int, *, again: bool) -> None:
        """By the inbox, where a repeated one lies twice until somebody takes it from there."""
        for attempt in range(1 + again):
            self.broker.leave(
                self.queue,
                name.encode(),
                message_id=f"{name}-{attempt}",
                lane="lane",
                number=self.published,
                priority=priority,
            )
        self.becomes_ready(name, priority)

    def publish_one(self, name: str, priority: int, *, wait: bool, again: bool) -> None:
        due = self.now() + 3_600_000 if wait else 0
        for attempt in range(1 + again):
            stored = self.broker.publish(
                self.queue,
                name.encode(),
                message_id=f"{name}-{attempt}",
                lane="lane",
                number=self.published,
                priority=priority,
                due_ms=due,
            )
            assert stored is (attempt == 0), "a repeated publish is stored once"
        if wait:
            self.delayed[name] = priority
        else:
            self.becomes_ready(name, priority)

    @rule(number=st.integers(0, 5))
    def time_comes(self, number: int) -> None:
        waiting = sorted(set(self.delayed) - set(self.due))
        if not waiting:
            return
        name = waiting[number % len(waiting)]
        [member] = [m for m in self.members(self.queue.delayed) if m.endswith(f":{name}".encode())]
        self.moments += 1
        self.call(self.queue.delayed, "ZADD", self.queue.delayed, "XX", self.moments, member)
        self.due.append(name)

    @rule(number=st.integers(0, 5))
    def holders_die(self, number: int) -> None:
        for lease in sorted(set(self.leased) - set(self.expired))[number:]:
            self.moments += 1
            self.call(self.queue.leases, "ZADD", self.queue.leases, "XX", self.moments, lease)
            self.expired.append(lease)

    @rule(
        session=st.sampled_from(SESSIONS),
        wanted=st.sampled_from([-1, 0, 1, 2, 4, 6]),
        acks=SOME,
        repeated=st.booleans(),
    )
    def settle(self, session: str, wanted: int, acks: list[int], repeated: bool) -> None:
        done = self.some(acks)
        first = self.numbers[session]
        self.numbers[session] += max(wanted, 0)
        for delivery in done:
            self.acknowledge(delivery.ack, delivery.payload.decode())
        self.time_passes()
        expected = sorted(self.ready, key=self.places.__getitem__)[: max(wanted, 0)]
        got = self.broker.settle(self.queue, session, wanted, first, [d.ack for d in done]).deliveries
        assert [d.payload.decode() for d in got] == expected, "highest priority first, in order of publishing"
        if repeated:
            again = self.broker.settle(self.queue, session, wanted, first, [d.ack for d in done], attempt=1).deliveries
            if expected:
                assert [d.tag for d in again] == [d.tag for d in got], "a repeated request brings the same leases"
            else:
                assert again == []
        for delivery in got:
            name = delivery.payload.decode()
            assert delivery.losses == self.losses[name]
            self.ready.discard(name)
            self.leased[delivery.ack.lease] = name
        self.deliveries += got

    def acknowledge(self, ack: Ack, name: str) -> None:
        if self.leased.get(ack.lease) == name:
            del self.leased[ack.lease]
            if ack.lease in self.expired:
                self.expired.remove(ack.lease)
            self.done.add(name)
        elif name in self.ready:
            # Late: the work is done, so a copy that nobody has taken is cancelled.
            self.ready.discard(name)
            self.done.add(name)

    @rule(taken=SOME)
    def renew(self, taken: list[int]) -> None:
        leases = [delivery.ack.lease for delivery in self.some(taken)]
        lost = self.broker.renew(self.queue, leases)
        assert lost == [lease for lease in leases if lease not in self.leased]
        self.expired = [lease for lease in self.expired if lease not in leases]
        self.time_passes()

    @rule(taken=SOME, lost=st.booleans())
    def give_back(self, taken: list[int], lost: bool) -> None:
        leases = [delivery.ack.lease for delivery in self.some(taken)]
        held = [lease for lease in leases if lease in self.leased]
        assert self.broker.release(self.queue, leases, lost=lost) == len(held)
        self.expired = [lease for lease in self.expired if lease not in held]
        for lease in held:
            self.comes_back(lease, lost=lost)

    @rule(number=st.integers(0, 20))
    def bury(self, number: int) -> None:
        leases = [delivery.ack.lease for delivery in self.some([number])]
        held = [lease for lease in leases if lease in self.leased]
        assert self.broker.bury(self.queue, leases, "rejected") == len(held)
        self.expired = [lease for lease in self.expired if lease not in held]
        self.dead |= {self.leased.pop(lease) for lease in held}

    @rule(really=st.integers(0, 9))
    def purge(self, really: int) -> None:
        if really:
            return  # It ends what is under way, so not too often.
        removed = self.broker.purge(self.queue)
        assert removed == len(self.ready) + len(self.delayed)
        self.done |= self.ready | set(self.delayed)
        self.ready.clear()
        self.delayed.clear()
        self.due.clear()

    # -- what must hold ---------------------------------------------------------------------------------------------

    def members(self, key: str) -> list[bytes]:
        return [member for member in self.call(key, "ZRANGE", key, 0, -1) if member]

    @invariant()
    def every_message_is_in_exactly_one_place(self) -> None:
        def names(messages: list[bytes]) -> set[str]:
            return {message.rpartition(b":")[2].decode() for message in messages}

        inbox = self.call(self.queue.inbox, "LRANGE", self.queue.inbox, 0, -1)
        held = self.call(self.queue.inflight, "HVALS", self.queue.inflight)
        places = {
            "ready": (names([*self.members(self.queue.ready), *filter(None, inbox)]), self.ready),
            "delayed": (names(self.members(self.queue.delayed)), set(self.delayed)),
            "leased": (names([message for message in held if message]), set(self.leased.values())),
            "dead": (names(self.members(self.queue.dead)), self.dead),
        }
        for place, (found, expected) in places.items():
            assert found == expected, place
        everything = [*self.ready, *self.delayed, *self.leased.values(), *self.dead, *self.done]
        assert sorted(everything) == sorted(self.losses), "none is lost, none is in two places"
        leases = {lease.decode() for lease in self.members(self.queue.leases)}
        assert leases == set(self.leased), "a lease for each message that is held, and no other"


@pytest.fixture(scope="module")
def broker(cluster: LocalCluster) -> Iterator[Broker]:
    started = Broker(parse(cluster.url, {"lease": 3600, "socket_timeout": 60, "delivery_limit": LIMIT}))
    yield started
    started.cluster.close()


@pytest.mark.parametrize("examples", [40, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_the_scripts_do_what_the_model_says(broker: Broker, examples: int) -> None:
    Life.broker = broker
    limits = settings(
        max_examples=examples,
        stateful_step_count=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Life, settings=limits)
