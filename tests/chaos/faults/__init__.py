"""Makes the planned faults happen, one at a time, and makes everything whole again after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tests.chaos.faults import network, nodes, servers, slots, workers
from tests.chaos.judge import Strike
from tests.chaos.plan import Kind
from tests.chaos.world import World
from tests.rediscluster.faultkit import heal

WAYS: Mapping[Kind, Callable[[World, Strike], None]] = {
    Kind.KILL_WORKER: workers.kill,
    Kind.STOP_WORKER: workers.stop,
    Kind.KILL_CHILD: workers.kill_child,
    Kind.STOP_CHILD: workers.stop_child,
    Kind.FREEZE_WORKER: workers.freeze,
    Kind.ROLLING_RESTART: workers.rolling_restart,
    Kind.FAILOVER: nodes.failover,
    Kind.KILL_PRIMARY: nodes.kill,
    Kind.FREEZE_PRIMARY: nodes.freeze,
    Kind.KILL_PRIMARY_AND_WORKER: nodes.kill_with_worker,
    Kind.KILL_TWO_PRIMARIES: nodes.kill_two,
    Kind.RESTART_ALL: nodes.restart_all,
    Kind.MIGRATE_SLOT: slots.migrate,
    Kind.HALF_MIGRATION: slots.leave_half_way,
    Kind.ADD_NODE: slots.add_and_remove,
    Kind.CUT_OFF: network.cut_off,
    Kind.LOSE_REPLIES: network.lose_replies,
    Kind.SLOW_NODE: network.slow_down,
    Kind.KILL_CLIENTS: network.kill_clients,
    Kind.FLUSH_SCRIPTS: servers.flush_scripts,
    Kind.ROTATE_PASSWORD: servers.rotate_password,
    Kind.FULL_MEMORY: servers.fill_memory,
    Kind.MOVE_CLOCK: servers.move_clock,
}


def happen(world: World, strike: Strike) -> None:
    """Let a fault happen; returns when everything is whole again."""
    WAYS[strike.step.kind](world, strike)
    heal(world.cluster)
    strike.healed = time.monotonic()
