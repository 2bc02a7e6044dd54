"""Faults of workers and of their pool processes."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.judge import Strike
from tests.chaos.world import World
from tests.rediscluster.faultkit import eventually

#: Leases for which a worker is frozen: at the end of the first its messages go to others.
FROZEN_LEASES = 1.5


def kill(world: World, strike: Strike) -> None:
    """End a worker and its pool at once."""
    worker = world.fleet.places[strike.step.worker]
    strike.workers = frozenset({worker.pid})
    strike.struck = time.monotonic()
    worker.kill()
    world.fleet.replace(strike.step.worker)


def stop(world: World, strike: Strike) -> None:
    """Ask a worker to end, which finishes what it has begun."""
    worker = world.fleet.places[strike.step.worker]
    strike.stopped[worker.pid] = time.monotonic()
    status = worker.stop()
    assert status == 0, f"a stopped worker ended with status {status}: {worker.log}"
    world.fleet.replace(strike.step.worker)


def kill_child(world: World, strike: Strike) -> None:
    """End a pool process at once."""
    _end_child(world, strike, signal.SIGKILL)


def stop_child(world: World, strike: Strike) -> None:
    """Ask a pool process to end."""
    _end_child(world, strike, signal.SIGTERM)


def _end_child(world: World, strike: Strike, number: signal.Signals) -> None:
    worker = world.fleet.places[strike.step.worker]
    before = worker.children()
    victim = before[strike.step.child]
    strike.processes = frozenset({victim})
    strike.struck = time.monotonic()
    os.kill(victim, number)
    eventually(lambda: len(set(worker.children()) - {victim}) == len(before), "the pool is complete again")


def freeze(world: World, strike: Strike) -> None:
    """Stop a worker and its pool for longer than a lease."""
    worker = world.fleet.places[strike.step.worker]
    strike.workers = frozenset({worker.pid})
    strike.struck = time.monotonic()
    worker.signal_group(signal.SIGSTOP)
    # The pause itself is the fault: there is no event to wait for.
    time.sleep(FROZEN_LEASES * world.lease)
    worker.signal_group(signal.SIGCONT)


def rolling_restart(world: World, strike: Strike) -> None:
    """Replace one worker after the other."""
    for place, old in enumerate(list(world.fleet.places)):
        world.fleet.replace(place)
        strike.stopped[old.pid] = time.monotonic()
        status = old.stop()
        assert status == 0, f"a worker that was replaced ended with status {status}: {old.log}"
