"""The two faults: a primary dies, a worker dies. Each is a generator that waits by yielding."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scripts.demo.fleet import Fleet, Task
from scripts.demo.tally import Tally
from scripts.localcluster import LocalCluster, LocalClusterError, Node

#: Attempts to catch the worker in the middle of a task.
ATTEMPTS = 60
PROMOTION_SECONDS = 90.0
CATCH_UP_SECONDS = 50.0


@dataclass
class Faults:
    """What was done to the fleet, for the report.

    Attributes:
        primary_killed: When, in seconds since the epoch.
        primary_replaced: When its replica had taken over.
        worker_killed: When.
        dead_pids: The processes of the killed worker.
        held: The tasks that it was running.
    """

    primary_killed: float = 0.0
    primary_replaced: float = 0.0
    worker_killed: float = 0.0
    dead_pids: set[int] = field(default_factory=set)
    held: list[str] = field(default_factory=list)


def kill_primary(
    cluster: LocalCluster, victim: Node, what: str, faults: Faults, tell: Callable[[str], None]
) -> Iterator[None]:
    """Kill a primary with SIGKILL and wait for its replica to take over.

    Redis replicates asynchronously: a primary that dies takes the writes with it that its replica does not have yet.
    The demo proves what is promised, that nothing replicated is lost: it holds back writes for the moment that the
    replica needs to catch up, kills, and leaves the writers waiting in the middle of their requests.
    """
    replica = cluster.replicas_of(victim)[0]
    began = time.monotonic()
    victim.admin.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    while not _caught_up(victim, replica) and time.monotonic() < began + CATCH_UP_SECONDS:
        yield
    paused = time.monotonic() - began
    faults.primary_killed = time.time()
    cluster.kill(victim)
    tell(
        f"killed the primary of {what} (port {victim.port}, SIGKILL) once its replica had everything: "
        f"writes were held back for {paused * 1000:.0f} ms"
    )
    deadline = time.monotonic() + PROMOTION_SECONDS
    while True:
        try:
            promoted = cluster.wait_promoted(victim, timeout=0.01)
            break
        except LocalClusterError:
            if time.monotonic() > deadline:
                raise
            yield
    faults.primary_replaced = time.time()
    tell(f"its replica (port {promoted.port}) took over after {faults.primary_replaced - faults.primary_killed:.1f} s")


def kill_worker(fleet: Fleet, queue: str, tally: Tally, faults: Faults, tell: Callable[[str], None]) -> Iterator[None]:
    """Kill a worker with all its processes in the middle of a task, and start another one, as ECS would."""
    victim = fleet.of_queue(queue)[0]
    for _ in range(ATTEMPTS):
        # Stopped, it cannot finish between the look at the ledger and the kill.
        victim.child.send_group(signal.SIGSTOP)
        tally.refresh()
        faults.dead_pids = victim.child.members()
        faults.held = tally.running_in(faults.dead_pids)
        if faults.held:
            break
        victim.child.send_group(signal.SIGCONT)
        yield
    faults.worker_killed = time.time()
    victim.child.send_group(signal.SIGKILL)
    victim.child.reap()
    tell(f"killed the worker {victim.child.name} with its {len(faults.dead_pids)} processes (SIGKILL){_held(faults)}")
    tell(f"started {_replace(fleet, victim).child.name} in its place, as ECS would")


def _held(faults: Faults) -> str:
    return f", in the middle of task {faults.held[0][:8]}" if faults.held else ", between two tasks"


def _replace(fleet: Fleet, victim: Task) -> Task:
    fleet.tasks.remove(victim)
    return fleet.start_task(victim.service)


def _caught_up(primary: Node, replica: Node) -> bool:
    wanted = primary.admin.info("replication")["master_repl_offset"]
    return bool(replica.admin.info("replication")["slave_repl_offset"] >= wanted)
