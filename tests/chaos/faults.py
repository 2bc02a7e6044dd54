"""Makes the planned faults happen, one at a time, and makes everything whole again after each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis.crc import key_slot

from scripts.localcluster import LocalCluster, Node
from service.rediscluster.keys import QueueKeys
from tests.chaos.fleet import Fleet
from tests.chaos.judge import Strike
from tests.chaos.ledger import Reader
from tests.chaos.plan import Kind, Step
from tests.chaos.traffic import Traffic
from tests.rediscluster.faultkit import eventually, heal, wait_replicated

#: Leases for which a worker is frozen: at the end of the first its messages go to others.
FROZEN_LEASES = 1.5


@dataclass
class Faults:
    """What the faults happen to."""

    cluster: LocalCluster
    fleet: Fleet
    traffic: Traffic
    reader: Reader
    queues: Sequence[str]
    prefix: str
    lease: float

    def strike(self, step: Step) -> Strike:
        """Let a fault happen; returns when everything is whole again."""
        now = time.monotonic()
        strike = Strike(step, since=now, struck=now)
        ways: dict[Kind, Callable[[Strike], None]] = {
            Kind.KILL_WORKER: self._kill_worker,
            Kind.STOP_WORKER: self._stop_worker,
            Kind.KILL_CHILD: self._kill_child,
            Kind.FREEZE_WORKER: self._freeze_worker,
            Kind.ROLLING_RESTART: self._rolling_restart,
            Kind.FAILOVER: self._failover,
            Kind.KILL_PRIMARY: lambda strike: self._lose_primary(strike, self.cluster.kill),
            Kind.FREEZE_PRIMARY: lambda strike: self._lose_primary(strike, self.cluster.freeze),
            Kind.MIGRATE_SLOT: self._migrate_slot,
            Kind.KILL_CLIENTS: self._kill_clients,
            Kind.FLUSH_SCRIPTS: lambda _: self._tell_all("SCRIPT", "FLUSH"),
        }
        ways[step.kind](strike)
        heal(self.cluster)
        strike.healed = time.monotonic()
        return strike

    # -- workers ----------------------------------------------------------------------------------------------------

    def _kill_worker(self, strike: Strike) -> None:
        worker = self.fleet.places[strike.step.worker]
        strike.workers = frozenset({worker.pid})
        strike.struck = time.monotonic()
        worker.kill()
        self.fleet.replace(strike.step.worker)

    def _stop_worker(self, strike: Strike) -> None:
        worker = self.fleet.places[strike.step.worker]
        status = worker.stop()
        assert status == 0, f"a stopped worker ended with status {status}: {worker.log}"
        self.fleet.replace(strike.step.worker)

    def _kill_child(self, strike: Strike) -> None:
        worker = self.fleet.places[strike.step.worker]
        before = worker.children()
        victim = before[strike.step.child]
        strike.processes = frozenset({victim})
        strike.struck = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(set(worker.children()) - {victim}) == len(before), "the pool is complete again")

    def _freeze_worker(self, strike: Strike) -> None:
        worker = self.fleet.places[strike.step.worker]
        strike.workers = frozenset({worker.pid})
        strike.struck = time.monotonic()
        worker.signal_group(signal.SIGSTOP)
        # The pause itself is the fault: there is no event to wait for.
        time.sleep(FROZEN_LEASES * self.lease)
        worker.signal_group(signal.SIGCONT)

    def _rolling_restart(self, strike: Strike) -> None:
        for place, old in enumerate(list(self.fleet.places)):
            self.fleet.replace(place)
            status = old.stop()
            assert status == 0, f"a worker that was replaced ended with status {status}: {old.log}"

    # -- nodes ------------------------------------------------------------------------------------------------------

    def _failover(self, strike: Strike) -> None:
        (replica,) = self.cluster.replicas_of(self._home(self.queues[strike.step.queue]))
        strike.struck = time.monotonic()
        self.cluster.failover(replica)

    def _lose_primary(self, strike: Strike, lose: Callable[[Node], None]) -> None:
        home = self._home(self.queues[strike.step.queue])
        strike.queues = frozenset(queue for queue in self.queues if self._home(queue) is home)
        # What a primary acknowledged and did not replicate is lost, and may be (docs/guarantees.md).
        with self._only_acks_under_way():
            strike.since = time.monotonic()
            wait_replicated(self.cluster, home)
            strike.struck = time.monotonic()
            lose(home)
        # Publishing goes on while nobody serves the slots.
        self.cluster.wait_promoted(home)
        if home.alive:
            # In its first moments a primary that wakes acknowledges what waits in its sockets, and then learns that it
            # was replaced and drops it: as if it had died before it replicated.
            with self._only_acks_under_way():
                self.cluster.thaw(home)
                self.cluster.wait_until_stable()

    @contextmanager
    def _only_acks_under_way(self) -> Iterator[None]:
        """Publish nothing, and wait for the chords, whose ends would be published by workers."""
        self.traffic.pause()
        try:
            eventually(lambda: self.reader.read().done.keys() >= set(self.traffic.bodies), "all chords are done")
            yield
        finally:
            self.traffic.resume()

    def _migrate_slot(self, strike: Strike) -> None:
        queue = self.queues[strike.step.queue]
        home = self._home(queue)
        others = sorted((n for n in self.cluster.primaries if n is not home), key=lambda node: node.port)
        self.cluster.migrate_slot(key_slot(self._key(queue).encode()), others[strike.step.target])

    def _kill_clients(self, strike: Strike) -> None:
        self._tell_all("CLIENT", "KILL", "TYPE", "normal")
        self._tell_all("CLIENT", "KILL", "TYPE", "pubsub")

    def _tell_all(self, *command: Any) -> None:
        for node in self.cluster.nodes:
            node.command(*command)

    def _key(self, queue: str) -> str:
        return QueueKeys(self.prefix, queue).meta

    def _home(self, queue: str) -> Node:
        return self.cluster.primary_for(self._key(queue))
