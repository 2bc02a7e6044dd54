"""Faults of the cluster's shape: slots that move, nodes that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.chaos.judge import Strike
from tests.chaos.world import World
from tests.rediscluster.faultkit import eventually, wait_replicated

#: Keys of a queue that move before the move is left half-way: some, and not all.
MOVED = 3
#: Seconds for which it is left so.
HALF_WAY = 3.0


def migrate(world: World, strike: Strike) -> None:
    """Move a queue's slot to another primary and back."""
    queue = world.queues[strike.step.queue]
    home = world.home(queue)
    for target in (world.others(home)[strike.step.target], home):
        began = time.monotonic()
        world.cluster.migrate_slot(world.slot(queue), target)
        world.wait_flowing(began, [queue])


def leave_half_way(world: World, strike: Strike) -> None:
    """Leave a move half-way for a while; then finish it, or give it up and carry the keys back.

    Without a network of the run's own it is always finished: no client may see the keys on their way back.
    """
    queue = world.queues[strike.step.queue]
    home, slot, cluster = world.home(queue), world.slot(queue), world.cluster
    target = world.others(home)[0]
    cluster.open_slot(slot, target)
    cluster.move_keys(slot, target, limit=MOVED)
    # That the queue stands still is the fault: there is no event to wait for.
    time.sleep(HALF_WAY)
    if strike.step.target == 0 or world.network is None:
        cluster.move_keys(slot, target)
        cluster.close_slot(slot, target)
        return
    with ExitStack() as stack:
        for node in (home, target):
            stack.enter_context(world.network.cut(world.network.groups, node.port))
            # What was received before has been answered.
            node.command("PING")
            node.command("PING")
        cluster.return_slot(slot, target)


def add_and_remove(world: World, strike: Strike) -> None:
    """Add a node, give it work, take the work back and remove it: as a primary or as a replica that is promoted."""
    queue = world.queues[strike.step.queue]
    home, slot, cluster = world.home(queue), world.slot(queue), world.cluster
    if strike.step.target == 0:
        added = cluster.add_node()
        _in_turn(world, queue, lambda: cluster.migrate_slot(slot, added), lambda: cluster.migrate_slot(slot, home))
    else:
        added = cluster.add_node(replica_of=home)
        eventually(lambda: added in cluster.replicas_of(home), "the new node is a replica")
        wait_replicated(cluster, home)
        _in_turn(world, queue, lambda: cluster.failover(added), lambda: cluster.failover(home))
    cluster.remove(added)


def _in_turn(world: World, queue: str, *moves: Callable[[], None]) -> None:
    for move in moves:
        began = time.monotonic()
        move()
        world.wait_flowing(began, [queue])
