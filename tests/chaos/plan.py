"""Which fault hits what, and when: drawn from a seed, without I/O, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The faults."""

    KILL_WORKER = "SIGKILL of a worker with its pool"
    STOP_WORKER = "SIGTERM of a worker, replaced"
    KILL_CHILD = "SIGKILL of a pool process"
    STOP_CHILD = "SIGTERM of a pool process"
    FREEZE_WORKER = "SIGSTOP of a worker beyond its lease"
    ROLLING_RESTART = "rolling restart of all workers"
    FAILOVER = "manual failover"
    KILL_PRIMARY = "SIGKILL of a primary"
    FREEZE_PRIMARY = "SIGSTOP of a primary"
    KILL_PRIMARY_AND_WORKER = "SIGKILL of a primary and a worker at once"
    KILL_TWO_PRIMARIES = "SIGKILL of two primaries at once"
    RESTART_ALL = "SIGKILL of all nodes, restarted with their files"
    MIGRATE_SLOT = "slot of a queue migrated and back"
    HALF_MIGRATION = "slot migration left half-way"
    ADD_NODE = "node added, used and removed"
    CUT_OFF = "worker cut off from a primary"
    LOSE_REPLIES = "replies lost after execution"
    SLOW_NODE = "slow primary"
    KILL_CLIENTS = "CLIENT KILL of everything"
    FLUSH_SCRIPTS = "SCRIPT FLUSH on all nodes"
    ROTATE_PASSWORD = "password rotated"
    FULL_MEMORY = "memory of a primary full"
    MOVE_CLOCK = "clock of a primary jumps both ways"


#: Those that may undo what a primary answered.
PRIMARY_KINDS = frozenset(
    {Kind.KILL_PRIMARY, Kind.FREEZE_PRIMARY, Kind.KILL_PRIMARY_AND_WORKER, Kind.KILL_TWO_PRIMARIES}
)
#: Those that need a network of the run's own.
NETWORK_KINDS = frozenset({Kind.CUT_OFF, Kind.LOSE_REPLIES, Kind.SLOW_NODE})


@dataclass(frozen=True)
class Step:
    """One fault.

    Attributes:
        kind: What happens.
        worker: The place in the fleet of the worker that it happens to, if it happens to one.
        child: Which of that worker's pool processes.
        queue: The number of the queue whose shard or slot it happens to, if it happens to one.
        target: Which of two: the other primaries, or the ways in which a kind can happen.
    """

    kind: Kind
    worker: int
    child: int
    queue: int
    target: int

    def __str__(self) -> str:
        worker, shard = f"worker {self.worker}", f"shard of queue {self.queue}"
        ways = _WAYS.get(self.kind)
        where = {
            Kind.KILL_WORKER: worker,
            Kind.STOP_WORKER: worker,
            Kind.FREEZE_WORKER: worker,
            Kind.KILL_CHILD: f"process {self.child} of {worker}",
            Kind.STOP_CHILD: f"process {self.child} of {worker}",
            Kind.FAILOVER: shard,
            Kind.KILL_PRIMARY: shard,
            Kind.FREEZE_PRIMARY: shard,
            Kind.KILL_PRIMARY_AND_WORKER: f"{shard}, {worker}",
            Kind.KILL_TWO_PRIMARIES: f"{shard} and other primary {self.target}",
            Kind.MIGRATE_SLOT: f"queue {self.queue} to other primary {self.target}",
            Kind.HALF_MIGRATION: f"queue {self.queue}",
            Kind.ADD_NODE: f"for queue {self.queue}",
            Kind.CUT_OFF: f"{worker}, {shard}",
            Kind.LOSE_REPLIES: f"{worker} and producers, {shard}",
            Kind.SLOW_NODE: shard,
            Kind.FULL_MEMORY: shard,
            Kind.MOVE_CLOCK: shard,
        }.get(self.kind, "all")
        return f"{self.kind} ({where}{f', {ways[self.target]}' if ways else ''})"


#: What `target` means where it is no primary.
_WAYS = {
    Kind.KILL_TWO_PRIMARIES: ("restarted", "replicas told to take over"),
    Kind.HALF_MIGRATION: ("finished later", "given up"),
    Kind.ADD_NODE: ("a primary that gets the slot", "a replica that is promoted"),
    Kind.CUT_OFF: ("for half a lease", "for longer than a lease"),
    Kind.MOVE_CLOCK: ("first forward", "first back"),
}


def schedule(seed: int, *, workers: int, children: int, queues: int) -> Iterator[Step]:
    """Draw faults for ever: every kind once in each round, in random order and at random places.

    Rounds, and not independent draws, so that a run that is long enough leaves no kind out.
    """
    dice = random.Random(seed)
    while True:
        for kind in dice.sample(list(Kind), len(Kind)):
            # Always the same number of draws: what one kind ignores must not change what the next one gets.
            yield Step(
                kind,
                worker=dice.randrange(workers),
                child=dice.randrange(children),
                queue=dice.randrange(queues),
                target=dice.randrange(2),
            )
