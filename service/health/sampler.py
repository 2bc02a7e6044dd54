"""What a worker's endpoint tells of the world: the lengths of its queues, and how many workers there are.

Sampled by a native thread with connections of its own, so that an answer never waits for the broker. Each worker says
in the cluster that it is there, so that counting them takes one small script and no broadcast.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from service import fleet
from service.breaker.call import AWAY
from service.breaker.shared import Standing, standings
from service.rediscluster import BrokerInspector
from service.rediscluster.cluster import Cluster
from service.rediscluster.native import Bell, readable, start_thread
from service.rediscluster.options import parse
from service.rediscluster.scripts import Script, script

#: Seconds between two samples, after which a sample is too old to be told, and after which a worker counts as gone.
PERIOD: Final = 10.0
STALE: Final = 25.0
FORGOTTEN: Final = 35.0
#: Seconds for which one request may be repeated: the next sample is the better retry.
DEADLINE: Final = 2.0
#: Where the workers say that they are there.
KEY: Final = f"{fleet.BROKER_PREFIX}workers"


@cache
def _present() -> Script:
    return script("present", files(__package__).joinpath("lua/present.lua").read_text("utf-8"))


class Sampler:
    """Samples until it is stopped.

    Attributes:
        lengths: Messages that could run now, by queue; those that could be read lately.
        fleet: Workers of the whole fleet and their active tasks; None if that could not be read lately.
        breakers: The circuit breakers that have met failures, by name, as far as they could be read lately.
    """

    def __init__(
        self, url: str, options: Mapping[str, Any], worker: str, queues: Sequence[str], active: Callable[[], int]
    ) -> None:
        """Nothing is asked before `start`.

        Args:
            url: The broker.
            options: Its transport options.
            worker: This worker's name.
            queues: What it consumes.
            active: How many of its tasks run now.
        """
        self._options = {**options, "retry_deadline": DEADLINE, "socket_timeout": DEADLINE}
        self._url, self._worker, self._queues, self._active = url, worker, queues, active
        self._bell = Bell()
        self._stopping, self._running = False, False
        self._lengths: dict[str, tuple[float, int]] = {}
        self._fleet: tuple[float, int, int] | None = None
        self._breakers: tuple[float, dict[str, Standing]] = (-STALE, {})

    @property
    def lengths(self) -> dict[str, int]:
        """Messages that could run now, by queue."""
        now = time.monotonic()
        return {queue: number for queue, (at, number) in dict(self._lengths).items() if now - at < STALE}

    @property
    def fleet(self) -> tuple[int, int] | None:
        """Workers and active tasks of the whole fleet."""
        sample = self._fleet
        return sample[1:] if sample is not None and time.monotonic() - sample[0] < STALE else None

    @property
    def breakers(self) -> dict[str, Standing]:
        """The circuit breakers of the whole fleet."""
        at, found = self._breakers
        return found if time.monotonic() - at < STALE else {}

    def start(self) -> None:
        """Sample in a native thread."""
        self._running = True
        start_thread(self._run)

    def stop(self) -> None:
        """End, and wait for it: a thread that outlives the interpreter crashes it under eventlet."""
        self._stopping = True
        self._bell.ring()
        ends = time.monotonic() + 2 * DEADLINE
        while self._running and time.monotonic() < ends:
            time.sleep(0.01)

    def _run(self) -> None:
        inspector = BrokerInspector(self._url, self._options)
        cluster = Cluster(parse(self._url, self._options))
        cluster.purpose = "inspect"
        try:
            while not self._stopping:
                self._sample(inspector, cluster)
                readable([self._bell.fileno], PERIOD)
            self._say(cluster, -1)
        finally:
            inspector.close()
            cluster.close()
            self._running = False

    def _sample(self, inspector: BrokerInspector, cluster: Cluster) -> None:
        self._say(cluster, self._active())
        for queue in self._queues:
            try:
                self._lengths[queue] = (time.monotonic(), inspector.stats(queue).depth)
            except AWAY:
                # The transport says what is wrong with the broker; an old length is not told.
                continue

        try:
            self._breakers = (time.monotonic(), standings(cluster))
        except AWAY:
            return

    def _say(self, cluster: Cluster, active: int) -> None:
        arguments = (self._worker, active, int(FORGOTTEN * 1000))
        try:
            workers, tasks = cluster.script(_present(), [KEY], lambda _: arguments)
        except AWAY:
            return
        self._fleet = (time.monotonic(), workers, tasks)
