"""A worker of the fleet as the fault tests know it: with a ledger of what its tasks did."""

from __future__ import annotations

import time
from pathlib import Path

from celery import Celery

from scripts.localcluster import LocalCluster
from tests.rediscluster.faultapp import Plan
from tests.rediscluster.faultkit import Worker, read_ledger
from tests.service.running import environment

#: Each pool, with the tasks that it runs at a time here.
POOLS = {"prefork": 3, "gevent": 3, "eventlet": 3, "threads": 3, "solo": 1}


class FleetWorker(Worker):
    """`python -m service worker` on the plan's queue, with the tasks of the fault tests."""

    def __init__(self, plan: Plan, cluster: LocalCluster, pool: str, grace: float = 600.0, **variables: str) -> None:
        """Start it.

        Args:
            plan: Where the ledger is, and the queue.
            cluster: The broker.
            pool: One of `POOLS`.
            grace: Seconds, which no setting could make so short.
            variables: Of its environment, besides.
        """
        directory = Path(plan.directory, f"tmp-{time.monotonic_ns()}")
        directory.mkdir()
        own = {
            "FLEET_POOL": pool,
            "FLEET_CONCURRENCY": str(POOLS[pool]),
            "FLEET_QUEUES": plan.queue,
            "FLEET_TASK_MODULES": "tests.service.ledger_tasks",
            "FLEET_LOG_LEVEL": "DEBUG",
            "HELD_GRACE": str(grace),
        }
        self._start(plan, ["service", "worker"], environment(cluster, directory, **own | variables))

    @property
    def consumes_no_more(self) -> bool:
        """Whether its main loop has heard of the shutdown."""
        return "Canceling task consumer" in self.log.read_text()


def send(app: Celery, plan: Plan, task: str, number: int, *arguments: object) -> None:
    """Publish a numbered task."""
    app.send_task(task, (number, *arguments), queue=plan.queue, task_id=f"task.{number}", ignore_result=True)


def noted(plan: Plan, event: str) -> list[int]:
    """The numbers of the tasks that noted an event, in order."""
    return [entry.number for entry in read_ledger(plan) if entry.event == event]
