"""What old workers hold: taken when its time has passed, or at once when the operator says that no worker runs."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from kombu import Exchange, Queue

from service.bridge import report
from service.bridge.mover import RefusedError
from tests.bridge.kit import Fetched, Sides, fill, grow_older, numbers_of, send, stock_app
from tests.rediscluster.faultkit import eventually


def test_what_a_dead_worker_held_is_taken_once_its_time_has_passed(sides: Sides) -> None:
    fill(sides.old, range(10))
    Fetched(sides.old, 6).die()
    assert sides.raw.hlen("unacked") == 6
    mover = sides.drain()
    assert numbers_of(sides.arrived()) == [6, 7, 8, 9]
    found = mover.look()
    assert found.left == 6
    lines = report.of_status(found, mover.old.layout, time.time(), 3600, [])
    assert any("6 held by workers, 0 of them long enough to be taken, the last in 3" in line for line in lines)
    grow_older(sides, 3601, count=4)
    assert sides.drain().look().left == 2
    assert sides.drain(visibility=60).look().left == 2
    grow_older(sides, 61)
    assert sides.drain(visibility=60).look().left == 0
    assert sorted(numbers_of(sides.arrived())) == [0, 1, 2, 3, 4, 5]
    assert not sides.raw.exists("unacked", "unacked_index", "bridge:taken")


def test_a_note_that_nobody_can_read_is_put_aside_in_its_time(sides: Sides) -> None:
    fill(sides.old, range(2))
    Fetched(sides.old, 2).die()
    for tag, note in enumerate((b"{", b"[1]", b"[" * 100_000)):
        sides.raw.hset("unacked", f"rubbish-{tag}", note)
        sides.raw.zadd("unacked_index", {f"rubbish-{tag}": time.time()})
    assert sides.drain().look().left == 5
    grow_older(sides, 3601)
    mover = sides.drain()
    assert (mover.look().left, mover.look().unreadable, mover.tally.unreadable.total()) == (0, 3, 3)
    assert numbers_of(sides.arrived()) == [0, 1]


def test_held_messages_keep_priority_and_eta(sides: Sides) -> None:
    app = stock_app(sides.old)
    send(app, [1], priority=9)
    send(app, [2], priority=4)
    send(app, [3], countdown=3600)
    Fetched(sides.old, 3).die()
    sides.drain(workers_stopped=True)
    arrived = sides.arrived()
    assert numbers_of(arrived) == [2, 1]
    assert [delivery.priority for delivery in arrived] == [7, 1]
    with sides.broker() as broker:
        assert broker.stats(broker.keys("celery"))[1] == 1


def test_what_was_acknowledged_or_fetched_again_since_the_look_is_not_taken(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sides.old, range(3))
    worker = Fetched(sides.old, 3)
    grow_older(sides, 3601)
    with sides.bridge() as mover:
        mover.begin()
        look = mover.old.held

        def slow_look(*args: Any) -> Any:
            found = list(look(*args))
            worker.messages[0].ack()
            sides.raw.zadd("unacked_index", {worker.messages[1].delivery_tag: time.time()})
            return iter(found)

        monkeypatch.setattr(mover.old, "held", slow_look)
        mover.sweep()
    assert numbers_of(sides.arrived()) == [2]
    assert sides.raw.hlen("unacked") == 1
    worker.die()


def test_without_a_time_only_when_workers_are_stopped(sides: Sides) -> None:
    fill(sides.old, range(2))
    Fetched(sides.old, 2).die()
    sides.raw.delete("unacked_index")
    assert sides.drain(visibility=0.001).look().left == 2
    assert sides.drain(workers_stopped=True).look().left == 0
    assert sorted(numbers_of(sides.arrived())) == [0, 1]


def test_stopped_workers_that_still_run_are_refused(sides: Sides) -> None:
    fill(sides.old, range(1), queue="elsewhere")
    sides.raw.delete("elsewhere")
    waiting = threading.Thread(target=lambda: sides.raw.brpop(["celery"], timeout=60))
    waiting.start()
    listener = sides.raw.pubsub()
    listener.psubscribe("/0.celery.pidbox")
    with sides.bridge(workers_stopped=True) as mover:
        eventually(lambda: len(mover.old.consumers() or ()) == 2, "both are seen")
        with pytest.raises(RefusedError, match=r"--workers-stopped: 127.0.0.1:\d+ .*psubscribe\) still waits"):
            mover.begin()
    assert not sides.raw.exists("bridge:owner")
    listener.close()
    fill(sides.old, range(1))
    waiting.join()
    with sides.bridge(workers_stopped=True) as mover:
        eventually(lambda: not mover.old.consumers(), "both are gone")
        mover.begin()


def test_what_is_fetched_after_the_beginning_betrays_a_worker_and_stays(sides: Sides) -> None:
    fill(sides.old, range(4))
    with sides.bridge(workers_stopped=True) as mover:
        mover.begin()
        late = Fetched(sides.old, 2)
        mover.drain()
        assert mover.look().left == 2
    assert numbers_of(sides.arrived()) == [2, 3]
    late.die()


def test_exchanges_lead_back_to_the_queue_or_the_message_stays(sides: Sides) -> None:
    topic, direct = Exchange("shop", "topic"), Exchange("mail", "direct")
    queues = [
        Queue("data_queue", topic, routing_key="import.#"),
        Queue("celery", direct, routing_key="letter"),
        Queue("sync_queue", topic, routing_key="both.*"),
        Queue("workflow_queue", topic, routing_key="both.#"),
    ]
    app = stock_app(sides.old)
    with app.connection_for_write() as connection:
        for queue in queues:
            queue(connection.channel()).declare()
        producer = connection.Producer()
        for number, (exchange, key) in enumerate(((topic, "import.rows.big"), (direct, "letter"), (topic, "both.x"))):
            producer.publish(number, exchange=exchange, routing_key=key)
    for queue in queues[:3]:
        Fetched(sides.old, 1, queue).die()
    mover = sides.drain(workers_stopped=True)
    assert numbers_of(sides.arrived("data_queue")) == [0]
    assert numbers_of(sides.arrived("celery")) == [1]
    # One of two copies was still in its list; of the other nobody can say where it was.
    assert numbers_of(sides.arrived("workflow_queue")) == [2]
    assert mover.look().doubtful == {
        "it may be from sync_queue or workflow_queue, all bound to exchange 'shop' with routing key \"both.x\"": 1
    }
    assert mover.look().left == 1
