"""Faults inside the nodes: forgotten scripts, another password, no memory, a clock that jumps."""

from __future__ import annotations

import secrets
import time

from scripts.localcluster import Node
from tests.chaos.judge import Strike
from tests.chaos.world import World
from tests.rediscluster.faultkit import eventually

#: Leases that a task lasts while the memory is full, which needs its lease renewed.
LONG_TASK = 1.3
#: Leases by which a clock jumps.
JUMP = 3.0


def flush_scripts(world: World, _: Strike) -> None:
    """Let all nodes forget the scripts."""
    for node in world.cluster.nodes:
        node.command("SCRIPT", "FLUSH")


def rotate_password(world: World, _: Strike) -> None:
    """Give the clients another password, take the old one away and cut who came with it."""
    cluster = world.cluster
    password = secrets.token_urlsafe(16)
    cluster.allow_password(password)
    world.credentials.change(cluster.username, password)
    cluster.require_password(password)


def fill_memory(world: World, strike: Strike) -> None:
    """Leave a primary no memory for a while: publishers and results wait, acks and renewals go on."""
    home = world.home(world.queues[strike.step.queue])
    long = world.traffic.publish(world.queues[strike.step.queue], LONG_TASK * world.lease)
    eventually(lambda: long in world.reader.read().runs, "the long task has begun")
    refused = _refused(home)
    home.command("CONFIG", "SET", "maxmemory", "1")
    try:
        eventually(lambda: _refused(home) > refused, "a publish is refused")
        eventually(lambda: long in world.reader.read().done, "the long task is done")
    finally:
        home.command("CONFIG", "SET", "maxmemory", "0")


def _refused(node: Node) -> int:
    return int(node.admin.info("errorstats").get("errorstat_OOM", {"count": 0})["count"])


def move_clock(world: World, strike: Strike) -> None:
    """Let a primary's clock jump beyond a lease, first one way and then the other, and back to the right time."""
    queue = world.queues[strike.step.queue]
    home = world.home(queue)
    first = JUMP * world.lease * (1 if strike.step.target == 0 else -1)
    for ahead in (first, -first, 0):
        home.move_clock(ahead)
        world.wait_flowing(time.monotonic())
    if world.home(queue) is not home:
        raise AssertionError(f"a jump of its clock cost {home} its role")
