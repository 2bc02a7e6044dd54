"""What `service.limits` says of each pool is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from scripts.localcluster import LocalCluster
from service import fleet
from service.fleet import KEPT_LIMITS
from service.rediscluster import BrokerInspector
from tests.rediscluster.faultapp import Plan
from tests.rediscluster.faultkit import Worker, Workers, eventually, read_ledger
from tests.service.stopping import FleetWorker, noted, send

#: Each pool gets a queue of its own, so that all are tried at the same time.
QUEUES = dict(zip(KEPT_LIMITS, (queue.name for queue in fleet.QUEUES), strict=False))
LIMITS = {"FLEET_SOFT_TIME_LIMIT": "3", "FLEET_TIME_LIMIT": "6", "FLEET_MAX_TASKS_PER_CHILD": "1"}
#: The tasks, and for how many seconds two of them run: longer than the limits.
FIRST, SECOND, WAITING, COMPUTING = range(4)
LONG = 12.0


@pytest.fixture
def workers() -> Iterator[Workers]:
    started = Workers(FleetWorker)
    yield started
    started.end()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_pool_keeps_the_limits_that_it_is_said_to_keep(
    cluster: LocalCluster, tmp_path: Path, app: Celery, workers: Workers
) -> None:
    app.control.purge()
    started: dict[fleet.Pool, Worker] = {}
    for pool, queue in QUEUES.items():
        directory = tmp_path / pool
        directory.mkdir()
        plan = Plan(cluster.url, str(directory), queue)
        started[pool] = workers.launch(plan, cluster, pool, FLEET_CONCURRENCY="1", **LIMITS)
        send(app, plan, "record", FIRST)
        send(app, plan, "record", SECOND)
        send(app, plan, "nap", WAITING, LONG)
        send(app, plan, "nap", COMPUTING, LONG, 0)
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    try:
        for pool, worker in started.items():
            plan = worker.plan
            worker.wait_ready()
            eventually(lambda plan=plan: COMPUTING in noted(plan, "began"), f"{pool} has begun them all")  # type: ignore[misc]
            eventually(
                lambda plan=plan: inspector.stats(plan.queue).depth + inspector.stats(plan.queue).leased == 0,  # type: ignore[misc]
                f"{pool} has ended them all",
            )
            soft, hard = ("soft_time_limit" in KEPT_LIMITS[pool], "time_limit" in KEPT_LIMITS[pool])
            assert (WAITING in noted(plan, "soft")) == soft, f"{pool} and the soft limit of a task that waits"
            assert (WAITING not in noted(plan, "done")) == hard, f"{pool} and the hard limit of a task that waits"
            computed = COMPUTING in noted(plan, "done")
            assert computed == (pool != "prefork"), f"{pool} and the hard limit of a task that computes"
            processes = {e.process for e in read_ledger(plan) if e.event == "done" and e.number in (FIRST, SECOND)}
            assert len(processes) == (2 if pool == "prefork" else 1), f"{pool} and its children"
            log = worker.log.read_text()
            for setting, kept in (("SOFT_TIME_LIMIT", soft), ("TIME_LIMIT", hard), ("MAX_TASKS", pool == "prefork")):
                assert (f"FLEET_{setting}" not in log) == kept, f"{pool} is warned of what it does not keep\n{log}"
    finally:
        inspector.close()
