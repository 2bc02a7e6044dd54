"""Faults between clients and nodes: packets dropped, replies lost, a slow node, connections cut."""

from __future__ import annotations

import time

from scripts.localcluster import Node
from tests.chaos.judge import Strike
from tests.chaos.proxy import Proxy
from tests.chaos.world import World
from tests.rediscluster.faultkit import eventually

#: Leases for which a worker is cut off from a node: at the end of the first its messages go to others.
SHORT_CUT, LONG_CUT = 0.5, 1.5
#: Seconds for which a connection works until its replies are swallowed, and replies that must be lost.
PATIENCE, SWALLOWED = 0.5, 10
#: Seconds by which a slow node's requests and its replies are late each, and for how long it is slow.
DELAY, SLOW = 0.2, 5.0


def cut_off(world: World, strike: Strike) -> None:
    """Drop all packets between a worker and a primary, for less than a lease or for more."""
    network = world.require_network()
    home = world.home(world.queues[strike.step.queue])
    long = strike.step.target == 1
    if long:
        strike.workers = frozenset({world.fleet.places[strike.step.worker].pid})
        strike.queues = world.served(home)
    strike.struck = time.monotonic()
    with network.cut([network.worker_group(strike.step.worker)], home.port):
        # The silence itself is the fault: there is no event to wait for.
        time.sleep((LONG_CUT if long else SHORT_CUT) * world.lease)


def lose_replies(world: World, strike: Strike) -> None:
    """Let a primary execute what a worker and the producers ask, and lose the replies."""
    network = world.require_network()
    home = world.home(world.queues[strike.step.queue])
    groups = [network.groups[0], network.worker_group(strike.step.worker)]
    proxy = Proxy(home.port, patience=PATIENCE)
    with proxy.running(), network.led(groups, home.port, proxy.port):
        _reconnect(world, home)
        eventually(lambda: proxy.swallowed >= SWALLOWED, f"{SWALLOWED} replies are lost")


def slow_down(world: World, strike: Strike) -> None:
    """Let a primary answer everybody late."""
    network = world.require_network()
    home = world.home(world.queues[strike.step.queue])
    proxy = Proxy(home.port, delay=DELAY)
    with proxy.running(), network.led(network.groups, home.port, proxy.port):
        _reconnect(world, home)
        # The slowness itself is the fault: there is no event to wait for.
        time.sleep(SLOW)


def kill_clients(world: World, _: Strike) -> None:
    """Cut all connections."""
    for node in world.cluster.nodes:
        node.command("CLIENT", "KILL", "TYPE", "normal")
        node.command("CLIENT", "KILL", "TYPE", "pubsub")


def _reconnect(world: World, node: Node) -> None:
    node.command("CLIENT", "KILL", "USER", world.cluster.username)
