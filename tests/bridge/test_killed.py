"""The bridge may be killed, paused, doubled or late at any instant: every message arrives, and once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from kombu import Connection, Queue

from service.bridge.mover import Mover
from service.bridge.old import SupersededError
from tests.bridge.kit import Fetched, Sides, fill, grow_older, numbers_of
from tests.rediscluster.faultkit import ROOT, Verdict


class Killed(BaseException):
    """Ends a bridge where it stands: nothing of it runs any more."""


def die_at(mover: Mover, where: str, times: int) -> None:
    """Let a bridge die before or after a step, at its n-th time."""
    moment, name = where.split()
    owner: Any = mover.old if name in ("take", "settle") else mover.target
    step: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == times and moment == "before":
            raise Killed
        result = step(*args, **kwargs)
        if calls == times:
            raise Killed
        return result

    setattr(owner, name, dying)


def drain_until(sides: Sides, instant: str, times: int, **arguments: Any) -> None:
    """Drain with a bridge that dies at an instant."""
    with sides.bridge(**arguments) as mover:
        mover.begin()
        die_at(mover, instant, times)
        with pytest.raises(Killed):
            mover.drain()


#: Seconds; the living consumer holds a message for much less.
VISIBILITY = 300.0
INSTANTS = ("before take", "after take", "before store", "after store", "before settle", "after settle")


@pytest.mark.parametrize("instant", [*INSTANTS, "before finish"])
def test_a_bridge_that_dies_between_two_steps_loses_and_doubles_nothing(sides: Sides, instant: str) -> None:
    fill(sides.old, range(60))
    # The n-th take after the first is one of an empty queue now and then.
    for times in (1,) if "finish" in instant else (1, 1, 3, 2, 4):
        drain_until(sides, instant, times, batch=5)
    sides.drain(batch=7)
    assert numbers_of(sides.arrived()) == list(range(60))


def test_a_bridge_may_be_down_for_longer_than_the_window_of_repeated_publishes(sides: Sides) -> None:
    fill(sides.old, range(20))
    short = {"dedupe_window": 0.001}
    drain_until(sides, "after store", 1, batch=20, options=short)
    # Meanwhile the fleet has worked on them all, and its publishers have forgotten all lanes.
    assert numbers_of(sides.arrived()) == list(range(20))
    with Connection(sides.cluster.url, transport_options=sides.options | short) as connection:
        producer = connection.Producer()
        for number in range(100, 110):
            producer.publish(number, routing_key="celery")
    mover = sides.drain()
    assert mover.tally.repeated == mover.tally.count == 20
    assert numbers_of(sides.arrived()) == list(range(100, 110))


def test_a_bridge_that_was_paused_while_another_came_moves_nothing_more(sides: Sides) -> None:
    fill(sides.old, range(30))
    with sides.bridge(batch=10) as paused:
        paused.begin()
        taken = paused.old.take("celery", "celery", 10)
        sides.drain(batch=10)
        assert numbers_of(sides.arrived()) == list(range(30))
        with pytest.raises(SupersededError):
            paused._move(taken)
        with pytest.raises(SupersededError):
            paused.old.settle([message.id for message in taken], [])
        with pytest.raises(SupersededError):
            paused.sweep()
    assert sides.arrived() == []
    assert sides.drain().look().left == 0


def test_a_request_that_was_stuck_on_its_way_stores_nothing_more(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(sides.old, range(30))
    requests: list[tuple[Any, ...]] = []
    with sides.bridge(batch=10) as mover:
        cluster = mover.target.broker.cluster
        send = cluster.script_once

        def recorded(*request: Any) -> Any:
            requests.append(request)
            return send(*request)

        monkeypatch.setattr(cluster, "script_once", recorded)
        mover.begin()
        mover.drain()
        assert numbers_of(sides.arrived()) == list(range(30))
        late = [request for request in requests if request[0].name == "arrive"]
        assert len(late) == 4, "three batches and the last one's forgetting"
        for request in late[:3]:
            with pytest.raises(Exception, match="SUPERSEDED"):
                send(*request)
        # The last may come again: it stores nothing.
        assert send(*late[3]) == 0
    assert sides.arrived() == []


def test_what_was_begun_can_be_finished_without_moving_more(sides: Sides) -> None:
    fill(sides.old, range(20))
    drain_until(sides, "before store", 2, batch=5)
    mover = sides.drain(left=("*",))
    assert mover.look().left == 0
    assert sides.raw.llen("celery") == 10
    assert numbers_of(sides.arrived()) == list(range(10))


def test_what_the_fleet_remembers_of_the_move_is_little(sides: Sides) -> None:
    fill(sides.old, range(200))
    drain_until(sides, "after settle", 3, batch=10)
    mover = sides.drain(batch=10)
    with sides.broker() as broker:
        record = mover.target._record(broker.keys("celery"))
        assert set(broker.cluster.call(record, "HKEYS", record)) == {b"", b"epoch", b"number"}


def kill_in_a_loop(sides: Sides, seed: int, kills: int, *arguments: str) -> str:
    """Bridges that are killed, and one that is not; what they printed."""
    command = [
        sys.executable,
        "-m",
        "tests.bridge.killing",
        str(seed),
        str(kills),
        "drain",
        *arguments,
        *sides.arguments,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # Producers go on, so something may be left.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return next(line for line in done.stdout.splitlines() if " killed, " in line)


def _kills_at_random(sides: Sides, seed: int, kills: int, messages: int) -> None:
    """Old producers and workers go on meanwhile, and some messages are held by workers that are dead."""
    fill(sides.old, range(100))
    Fetched(sides.old, 100).die()
    grow_older(sides, VISIBILITY + 1)
    fill(sides.old, range(100, messages))
    stop = threading.Event()
    published = list(range(messages))
    consumed: list[int] = []

    def publish() -> None:
        with Connection(sides.old) as connection:
            producer = connection.Producer()
            while not stop.wait(0.002):
                producer.publish(len(published), routing_key="celery", priority=len(published) % 10)
                published.append(len(published))

    def consume() -> None:
        with Connection(sides.old) as connection:
            queue = Queue("celery")(connection.channel())
            while not stop.wait(0.01):
                message = queue.get()
                if message is not None:
                    consumed.append(int(message.payload))
                    message.ack()

    threads = [threading.Thread(target=work) for work in (publish, consume)]
    for thread in threads:
        thread.start()
    try:
        told = kill_in_a_loop(sides, seed, kills, "--batch", "7", "--visibility-timeout", str(VISIBILITY))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    sides.drain(visibility=VISIBILITY)
    arrived = numbers_of(sides.arrived())
    found = Verdict(told, frozenset(published), Counter(arrived + consumed))
    print(found, f"(stock consumer {len(consumed)}, fleet {len(arrived)})")
    found.demand()
    assert sides.raw.hlen("bridge:taken") == 0


def test_kill_9_at_random_instants(sides: Sides) -> None:
    _kills_at_random(sides, seed=1, kills=25, messages=2000)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 12))
def test_kill_9_at_many_random_instants(sides: Sides, seed: int) -> None:
    _kills_at_random(sides, seed, kills=150, messages=12_000)
