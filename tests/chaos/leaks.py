"""What must not be left in the cluster, or of the fleet, when all work is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from scripts.localcluster import LocalCluster
from service.rediscluster import BrokerInspector
from service.rediscluster.keys import QueueKeys
from tests.chaos.fleet import Fleet

#: How often the cluster is asked while something may still go away by itself.
POLL_SECONDS = 0.2


def in_queues(inspector: BrokerInspector, queues: Iterable[str]) -> list[str]:
    """Queues in which something still is."""
    found = []
    for queue in queues:
        stats = inspector.stats(queue)
        left = {"ready": stats.depth, "delayed": stats.delayed, "leased": stats.leased, "dead": stats.dead}
        if any(left.values()):
            found.append(f"{queue} still holds {left}")
    return found


def keys(cluster: LocalCluster, queues: Sequence[str], prefix: str) -> list[str]:
    """Broker keys that should not be there: what is left of temporary queues, or made by mistake."""
    ours = [QueueKeys(prefix, queue) for queue in queues]
    fixed = {key for queue in ours for key in (*queue.every, queue.wake)}
    found = []
    for node in cluster.primaries:
        for key in node.admin.scan_iter(f"{prefix}*"):
            kind = key.rpartition(":")[2]
            # A temporary queue leaves a mark for an hour, so that a late reply does not make it again.
            passing = kind in ("fanout", "temporary") and node.admin.pttl(key) > 0
            if not (key in fixed or kind == "bindings" or passing):
                found.append(key)
    return sorted(found)


def clients(cluster: LocalCluster) -> list[str]:
    """Connections of workers or producers."""
    return [
        f"{client['name'] or 'client'} at {client['addr']}"
        for node in cluster.nodes
        for client in node.admin.client_list()
        if client["user"] == cluster.username
    ]


def processes(fleet: Fleet) -> list[str]:
    """Processes that outlive their worker."""
    return [f"process {pid} of worker {worker.pid}" for worker in fleet.everyone for pid in worker.left()]


def wait_gone(find: Callable[[], list[str]], within: float) -> list[str]:
    """Give what goes away by itself the time to do so; returns what stays."""
    ends = time.monotonic() + within
    while (left := find()) and time.monotonic() < ends:
        time.sleep(POLL_SECONDS)
    return left
