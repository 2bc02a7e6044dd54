"""What the faults happen to, and what they wait for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from redis.crc import key_slot

from scripts.localcluster import LocalCluster, Node
from service.rediscluster.keys import QueueKeys
from tests.chaos.credentials import FileCredentials
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Reader
from tests.chaos.network import Network
from tests.chaos.traffic import Traffic
from tests.rediscluster.faultkit import eventually

#: Tasks of each queue that must be done before it counts as flowing, and seconds within which they must.
FLOWING, FLOW_DEADLINE = 3, 60.0


@dataclass
class World:
    """The cluster and everybody who uses it; `network` is missing where the machine does not allow one."""

    cluster: LocalCluster
    fleet: Fleet
    traffic: Traffic
    reader: Reader
    queues: Sequence[str]
    prefix: str
    lease: float
    credentials: FileCredentials
    network: Network | None

    def slot(self, queue: str) -> int:
        """The slot of a queue."""
        return int(key_slot(self._key(queue).encode()))

    def home(self, queue: str) -> Node:
        """The primary of a queue."""
        return self.cluster.primary_for(self._key(queue))

    def served(self, *nodes: Node) -> frozenset[str]:
        """The queues whose primary is one of these."""
        return frozenset(queue for queue in self.queues if self.home(queue) in nodes)

    def others(self, node: Node) -> list[Node]:
        """The other primaries, always in the same order."""
        return sorted((other for other in self.cluster.primaries if other is not node), key=lambda other: other.port)

    def require_network(self) -> Network:
        """The network, for faults that are only planned if there is one."""
        assert self.network is not None
        return self.network

    def wait_flowing(self, since: float, queues: Collection[str] | None = None) -> None:
        """Wait until each queue has done some tasks that were published since then."""
        wanted = self.queues if queues is None else queues

        def flowing() -> bool:
            done = self.reader.read().done
            counts = dict.fromkeys(wanted, 0)
            for task in reversed(self.traffic.sent):
                if task.queue in counts:
                    counts[task.queue] += task.asked >= since and task.number in done
            return min(counts.values()) >= FLOWING

        eventually(flowing, f"{', '.join(wanted)} flow again ({len(self.traffic.sent)} sent)", FLOW_DEADLINE)

    @contextmanager
    def only_acks_under_way(self) -> Iterator[None]:
        """Publish nothing, and wait for what workers would publish: the ends of chords, and callbacks."""
        self.traffic.pause()
        try:
            self._wait_followers()
            yield
        finally:
            self.traffic.resume()

    def _wait_followers(self) -> None:
        eventually(
            lambda: self.reader.read().done.keys() >= set(self.traffic.followers), "all that workers publish is done"
        )

    def _key(self, queue: str) -> str:
        return QueueKeys(self.prefix, queue).meta
