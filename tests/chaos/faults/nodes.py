"""Faults of nodes: lost, replaced by their replicas, restarted."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.localcluster import Node
from tests.chaos.judge import Strike
from tests.chaos.world import World
from tests.rediscluster.faultkit import heal, wait_replicated

#: Seconds for which a cluster without a majority is left alone: longer than it takes to notice.
HELPLESS = 7.0


def failover(world: World, strike: Strike) -> None:
    """Let a replica take over by agreement."""
    (replica,) = world.cluster.replicas_of(world.home(world.queues[strike.step.queue]))
    strike.struck = time.monotonic()
    world.cluster.failover(replica)


def kill(world: World, strike: Strike) -> None:
    """End a primary at once."""
    home = world.home(world.queues[strike.step.queue])
    _lose(world, strike, [home], lambda: world.cluster.kill(home))
    world.cluster.wait_promoted(home)


def freeze(world: World, strike: Strike) -> None:
    """Make a primary silent, and let it wake when it has been replaced."""
    home = world.home(world.queues[strike.step.queue])
    _lose(world, strike, [home], lambda: world.cluster.freeze(home))
    # Publishing goes on while nobody serves the slots.
    world.cluster.wait_promoted(home)
    # In its first moments a primary that wakes acknowledges what waits in its sockets, and then learns that it was
    # replaced and drops it: as if it had died before it replicated.
    with world.only_acks_under_way():
        world.cluster.thaw(home)
        world.cluster.wait_until_stable()


def kill_with_worker(world: World, strike: Strike) -> None:
    """End a primary and a worker at once; the next worker starts while nobody serves the slots."""
    home = world.home(world.queues[strike.step.queue])
    worker = world.fleet.places[strike.step.worker]
    strike.workers = frozenset({worker.pid})

    def lose() -> None:
        world.cluster.kill(home)
        worker.kill()

    _lose(world, strike, [home], lose)
    started = world.fleet.replace_later(strike.step.worker)
    world.cluster.wait_promoted(home)
    # The primary may be the only node that a new worker is told of.
    heal(world.cluster)
    started.wait_ready()


def kill_two(world: World, strike: Strike) -> None:
    """End two of three primaries at once: without a majority nobody takes over by itself.

    They are restarted with their files, or their replicas are told to take over.
    """
    home = world.home(world.queues[strike.step.queue])
    victims = [home, world.others(home)[strike.step.target]]
    replicas = [world.cluster.replicas_of(victim)[0] for victim in victims]
    taken_over = strike.step.target == 1

    def lose() -> None:
        for victim in victims:
            world.cluster.kill(victim)

    before = {queue: world.home(queue) for queue in world.queues}
    _lose(world, strike, victims, lose)
    # That nothing happens is the fault: there is no event to wait for.
    time.sleep(HELPLESS)
    for victim, replica in zip(victims, replicas, strict=True):
        if taken_over:
            replica.command("CLUSTER", "FAILOVER", "TAKEOVER")
        else:
            world.cluster.restart(victim)
    world.cluster.wait_until_stable()
    # Who came back with its files has undone nothing.
    strike.queues = frozenset(queue for queue in world.queues if world.home(queue) is not before[queue])


def restart_all(world: World, strike: Strike) -> None:
    """End all nodes at once and start them with their append-only files."""
    primaries = world.cluster.primaries
    # A replica that is back first could take over, and has less than its primary had written.
    nodes = [*primaries, *(node for node in world.cluster.nodes if node not in primaries)]
    strike.struck = time.monotonic()
    for node in nodes:
        world.cluster.kill(node)
    for node in nodes:
        world.cluster.restart(node)
    world.cluster.wait_until_stable()


def _lose(world: World, strike: Strike, victims: list[Node], lose: Callable[[], None]) -> None:
    strike.queues = world.served(*victims)
    # What a primary acknowledged and did not replicate is lost, and may be (docs/guarantees.md).
    with world.only_acks_under_way():
        strike.since = time.monotonic()
        for victim in victims:
            wait_replicated(world.cluster, victim)
        strike.struck = time.monotonic()
        lose()
