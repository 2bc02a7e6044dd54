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
    FREEZE_WORKER = "SIGSTOP of a worker beyond its lease"
    ROLLING_RESTART = "rolling restart of all workers"
    FAILOVER = "manual failover"
    KILL_PRIMARY = "SIGKILL of a primary"
    FREEZE_PRIMARY = "SIGSTOP of a primary"
    MIGRATE_SLOT = "slot of a queue migrated"
    KILL_CLIENTS = "CLIENT KILL of everything"
    FLUSH_SCRIPTS = "SCRIPT FLUSH on all nodes"


@dataclass(frozen=True)
class Step:
    """One fault.

    Attributes:
        kind: What happens.
        worker: The place in the fleet of the worker that it happens to, if it happens to one.
        child: Which of that worker's pool processes.
        queue: The number of the queue whose shard or slot it happens to, if it happens to one.
        target: Which of the other primaries gets a migrated slot.
    """

    kind: Kind
    worker: int
    child: int
    queue: int
    target: int

    def __str__(self) -> str:
        match self.kind:
            case Kind.KILL_WORKER | Kind.STOP_WORKER | Kind.FREEZE_WORKER:
                where = f"worker {self.worker}"
            case Kind.KILL_CHILD:
                where = f"process {self.child} of worker {self.worker}"
            case Kind.FAILOVER | Kind.KILL_PRIMARY | Kind.FREEZE_PRIMARY:
                where = f"shard of queue {self.queue}"
            case Kind.MIGRATE_SLOT:
                where = f"queue {self.queue} to other primary {self.target}"
            case _:
                where = "all"
        return f"{self.kind} ({where})"


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
