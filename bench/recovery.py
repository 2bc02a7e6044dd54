"""How long a queue stands still after a death."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

from bench.app import HOLD, HOLDER
from bench.rows import LEASE, NODE_TIMEOUT_MS
from bench.sides import Side, cluster_side, own_cluster
from bench.worker import Inbox, Publisher, kill, worker
from service.fleet import BROKER_PREFIX
from service.rediscluster.keys import QueueKeys

#: Workers that are killed in one round, some with credit left, some without.
HOLDERS = 4


def worker_death(side: Side) -> dict[str, list[float]]:
    """Seconds from the death of a worker (kill -9) until its task runs again in another, for several workers.

    Half of them have a free process. Such a worker has asked for more and watches the queue's clock for all others: its
    death is the unlucky case.
    """
    leased = replace(side, options={**side.options, "lease": LEASE})
    queues = [f"{side.queue}-{number}" for number in range(HOLDERS)]
    killed: dict[str, float] = {}
    taken: dict[str, float] = {}
    with Inbox() as inbox, Publisher(leased) as publisher, ExitStack() as stack:
        groups = {
            queue: stack.enter_context(worker(leased, inbox, queues=[queue], processes=1 + index % 2, role=HOLDER))
            for index, queue in enumerate(queues)
        }
        for queue in queues:
            publisher.send(queue, name=HOLD, queue=queue)
        for _ in queues:
            inbox.read()
        stack.enter_context(worker(leased, inbox, queues=queues, role="heir"))
        # Until the heir is idle; then at different moments of its waiting.
        time.sleep(6)
        for queue, group in groups.items():
            kill(group)
            killed[queue] = time.monotonic()
            time.sleep(1.7)
        while len(taken) < len(queues):
            moment, text = inbox.read(LEASE + 30)
            taken.setdefault(text.split()[0], moment)
    side.clear()
    return {"worker-death": [taken[queue] - killed[queue] for queue in queues]}


def primary_death(_: Side) -> dict[str, list[float]]:
    """Seconds from the death of a queue's primary (kill -9) until a task that was published later runs."""
    with own_cluster(node_timeout_ms=NODE_TIMEOUT_MS) as cluster:
        side = cluster_side("ours", cluster)
        with Inbox() as inbox, Publisher(side) as publisher, worker(side, inbox):
            for number in range(20):
                publisher.send(f"before-{number}")
                inbox.read()
            cluster.kill(cluster.primary_for(QueueKeys(BROKER_PREFIX, side.queue, 0).meta))
            killed = time.monotonic()
            publisher.send("after")
            while True:
                moment, mark = inbox.read(60)
                if mark == "after":
                    return {"primary-death": [moment - killed]}
