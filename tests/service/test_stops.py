"""Workers of every pool are stopped under load: what has ended is acknowledged, the rest is back in its place."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from celery import Celery

from scripts.demo.processes import members
from scripts.localcluster import LocalCluster
from service import fleet
from service.rediscluster import BrokerInspector
from service.rediscluster.message_format import received
from service.steps import EXIT_COLD
from tests.rediscluster.faultapp import Plan
from tests.rediscluster.faultkit import Workers, eventually, verdict, waiting
from tests.service.stopping import POOLS, FleetWorker, noted, send

QUEUE = "data_queue"
#: More than any worker takes while it is told to stop.
SENT = range(100)
#: The task that would never end; it is the first in the queue.
ENDLESS = 0


@dataclass(frozen=True)
class Way:
    """How a worker is told to end.

    Attributes:
        warm: The signal after which running tasks may end; None if there is none.
        cut: The signal that does not wait for them.
        variables: Of the worker's environment.
    """

    warm: signal.Signals | None
    cut: signal.Signals
    variables: Mapping[str, str] = field(default_factory=dict)


WAYS = {
    "TERM, QUIT": Way(signal.SIGTERM, signal.SIGQUIT),
    "INT, INT": Way(signal.SIGINT, signal.SIGINT),
    "QUIT": Way(None, signal.SIGQUIT),
    "remapped TERM, TERM": Way(signal.SIGTERM, signal.SIGTERM, {"REMAP_SIGTERM": "SIGQUIT", "SOFT_TIMEOUT": "600"}),
}


#: Pools that are also ended as from a keyboard; it is the same for the others.
ON_KEYBOARDS = ("prefork", "gevent", "solo")


@pytest.fixture
def plan(cluster: LocalCluster, tmp_path: Path, app: Celery) -> Plan:
    app.control.purge()
    return Plan(cluster.url, str(tmp_path), QUEUE)


@pytest.fixture
def workers() -> Iterator[Workers]:
    started = Workers(FleetWorker)
    yield started
    started.end()


@pytest.fixture
def inspector(app: Celery) -> Iterator[BrokerInspector]:
    opened = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("pool", "way"), [(pool, way) for pool in POOLS for way in WAYS if pool in ON_KEYBOARDS or way != "INT, INT"]
)
def test_a_stop_under_load(
    pool: str,
    way: str,
    plan: Plan,
    cluster: LocalCluster,
    app: Celery,
    workers: Workers,
    inspector: BrokerInspector,
) -> None:
    slots, told = POOLS[pool], WAYS[way]
    for number in SENT:
        gate = "never" if number == ENDLESS else "in-time"
        send(app, plan, *(("wait_for", number, gate) if number < slots else ("record", number)))
    # Longer than children need to note that they are cut; threads cannot be, and are waited for so long.
    cold = {"COLD_SECONDS": "60"} if pool == "prefork" else {}
    worker = workers(plan, cluster, pool, **{**cold, **told.variables})
    assert isinstance(worker, FleetWorker)
    running = set(range(slots))
    eventually(lambda: worker.began() == running, "every slot of the pool has its task")
    ended: set[int] = set()
    if told.warm is not None:
        worker.process.send_signal(told.warm)
        # The main thread of solo is busy with the task.
        eventually(lambda: pool == "solo" or worker.consumes_no_more, "the worker stops fetching")
        plan.gate("in-time").touch()
        ended = running - {ENDLESS}
        eventually(
            lambda: set(noted(plan, "done")) == ended and inspector.stats(QUEUE).leased == 1,
            "what ends in time is acknowledged while the rest runs on",
        )
    worker.process.send_signal(told.cut)
    status = worker.wait()
    what = f"{pool}, {way}: exit status {status}, {worker.log.read_text()[-3000:]}"
    assert status == EXIT_COLD, what
    assert worker.began() == running, f"{what}\nbegan more after it was told to stop"
    assert set(noted(plan, "cut")) == (running - ended if pool == "prefork" else set()), what
    assert inspector.stats(QUEUE).leased == 0, f"{what}\nnobody holds anything any more"
    left = waiting(plan.url, QUEUE, key_prefix=fleet.BROKER_PREFIX)
    numbers = [int(received(delivery)["headers"]["id"].rpartition(".")[2]) for delivery in left]
    assert numbers == [number for number in SENT if number not in ended], f"{what}\nall else is in its place"
    assert not any(delivery.losses for delivery in left), f"{what}\na return at shutdown does not count"
    if way == "TERM, QUIT":
        plan.gate("never").touch()
        successor = workers(plan, cluster, pool)
        eventually(lambda: set(noted(plan, "done")) == set(SENT), "another worker does the rest")
        verdict(what, SENT, plan).demand()
        verdict(what, SENT, plan, "began").demand(may_run_twice=running - ended)
        assert successor.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_further_signals_wait_for_nobody(
    plan: Plan, cluster: LocalCluster, app: Celery, workers: Workers, inspector: BrokerInspector
) -> None:
    send(app, plan, "cling", ENDLESS)
    worker = workers(plan, cluster, "prefork", COLD_SECONDS="600")
    eventually(lambda: worker.began() == {ENDLESS}, "the task runs")
    worker.process.send_signal(signal.SIGQUIT)
    eventually(lambda: noted(plan, "cut") == [ENDLESS], "its process was asked to end, and the task does not care")

    def ended() -> bool:
        worker.process.send_signal(signal.SIGQUIT)
        return worker.process.poll() is not None

    eventually(ended, "further signals end it at once")
    assert worker.wait() == EXIT_COLD
    eventually(lambda: not members({worker.pid}), "no process of the pool outlives the worker")
    assert (inspector.stats(QUEUE).depth, inspector.stats(QUEUE).leased) == (1, 0)
