"""Each pool of Celery works off a mixed load and ends when it is told to."""

from __future__ import annotations

import signal
from pathlib import Path
from uuid import uuid4

import pytest

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector
from tests.rediscluster.faultapp import Plan, make_app, sum_of
from tests.rediscluster.faultkit import PATIENCE, Workers, eventually, read_ledger, verdict

SENT = range(200)
#: The chord's part of them.
CHORD = range(180, 200)


@pytest.mark.parametrize(
    ("pool", "concurrency"),
    [
        ("prefork", 2),
        ("gevent", 20),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in (("solo", 1), ("threads", 8), ("eventlet", 20))),
    ],
)
def test_a_pool_works_off_a_mixed_load_and_ends(
    pool: str, concurrency: int, cluster: LocalCluster, tmp_path: Path, workers: Workers
) -> None:
    plan = Plan(cluster.url, str(tmp_path), f"pool-{uuid4().hex}")
    app = make_app(plan)
    inspector = BrokerInspector(cluster.url)
    try:
        for number in SENT[: CHORD[0] - 2]:
            app.send_task("record", (number,), ignore_result=True)
        worker = workers(plan, pool, concurrency, mingle=True)
        retried = app.send_task("again", (CHORD[0] - 2,))
        later = app.send_task("record", (CHORD[0] - 1,), countdown=0.5)
        added = sum_of(app, CHORD)
        told = f"pool {pool} with {concurrency}"
        assert retried.get(timeout=PATIENCE) == CHORD[0] - 2, told
        assert later.get(timeout=PATIENCE) == CHORD[0] - 1, told
        assert added.get(timeout=PATIENCE) == sum(CHORD), told
        eventually(lambda: app.control.ping(timeout=1), f"{told} answers a ping")
        eventually(lambda: not verdict(told, SENT, plan).lost, f"{told} has done everything")
        verdict(told, SENT, plan).demand()
        attempts = [e.number for e in read_ledger(plan) if e.event == "began"].count(CHORD[0] - 2)
        assert attempts == 3, f"{told}: the retried task ran {attempts} times"
        # A pool that still takes results in when it is stopped may take long to end, on any broker.
        eventually(lambda: inspector.stats(plan.queue).leased == 0, f"{told} is idle")
        status = worker.stop(signal.SIGTERM)
        log = worker.log.read_text()
        assert status == 0, f"{told} ended with {status}:\n{log[-4000:]}"
        assert "Traceback" not in log, f"{told} complained:\n{log[-4000:]}"
        assert inspector.stats(plan.queue).dead == 0
    finally:
        inspector.close()
        app.close()
