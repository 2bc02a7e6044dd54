"""Beats as processes, and the ticks that arrived in the queues."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from scripts.localcluster import LocalCluster
from service import fleet
from service.beat.leader import Leader, Standing
from service.rediscluster.cluster import Cluster
from service.rediscluster.keys import QueueKeys
from service.rediscluster.message_format import unpack
from service.rediscluster.options import parse
from tests.beat.seconds import SECONDS, tick
from tests.rediscluster.faultkit import eventually
from tests.service.running import Container, container, environment

#: Seconds that anything may take on a busy machine before the test gives up.
PATIENCE = 120.0
#: Seconds of a lease in these tests.
LEASE = 10
EVERY_SECOND = {"task": tick.name, "every": 1}
MODULES = "service.tasks,tests.beat.seconds"


class Tick(NamedTuple):
    """A tick that arrived."""

    entry: str
    due: int
    task_id: str


def state(cluster: LocalCluster) -> Cluster:
    return Cluster(parse(cluster.url))


def standing(cluster: LocalCluster) -> Standing | None:
    """How the leader is."""
    client = state(cluster)
    try:
        return Leader(client, "test", LEASE).standing()
    finally:
        client.close()


def arrived(cluster: LocalCluster, queue: str = "celery") -> list[Tick]:
    """Every tick that was ever published to a queue; nobody takes them."""
    key = QueueKeys(fleet.BROKER_PREFIX, queue).ready
    client = state(cluster)
    try:
        members = client.call(key, "ZRANGE", key, 0, -1)
    finally:
        client.close()
    found = []
    for member in members:
        if member:
            headers = unpack(member.split(b":", 5)[5])["headers"]
            if "beat_due" in headers:
                due = int(datetime.fromisoformat(headers["beat_due"]).timestamp())
                found.append(Tick(headers["beat_entry"], due, headers["id"]))
    return found


def every(seconds: int) -> Callable[[int], bool]:
    """Whether a time is due for an interval."""
    return lambda due: due % seconds == 0


def by_second(due: int) -> bool:
    """Whether a time is due for the entry of `seconds.py`."""
    return due % 60 in SECONDS


def demand_each_once(ticks: list[Tick], entries: Mapping[str, Callable[[int], bool]]) -> None:
    """Fail unless every tick between an entry's first and its last arrived, and once."""
    for entry, is_due in entries.items():
        times = Counter(tick.due for tick in ticks if tick.entry == entry)
        assert times, f"no tick of {entry}"
        expected = [due for due in range(min(times), max(times) + 1) if is_due(due)]
        missed = [due for due in expected if due not in times]
        doubled = [due for due, count in times.items() if count > 1]
        strange = [due for due in times if not is_due(due)]
        assert not missed, f"{entry}: {len(missed)} of {len(expected)} ticks missed: {missed}"
        assert not doubled, f"{entry}: ticks doubled: {doubled}"
        assert not strange, f"{entry}: ticks that nobody declared: {strange}"


@dataclass
class Beat:
    """A process that runs `python -m service beat`."""

    container: Container

    @property
    def log(self) -> str:
        return self.container.log.read_text()

    @property
    def pid(self) -> int:
        return self.container.process.pid

    def leads(self, cluster: LocalCluster) -> bool:
        """Whether it is the leader."""
        now = standing(cluster)
        # Those that stand by name it too, in other words.
        return now is not None and now.leads and f"service.beat.leader: {now.leader} leads\n" in self.log

    def healthy(self) -> bool:
        """Whether its health check passes."""
        assert self.container.process.poll() is None, self.log
        return self.container.healthy()

    def signal(self, number: signal.Signals) -> None:
        self.container.process.send_signal(number)


class Beats:
    """The beats of a test, and their cluster."""

    def __init__(self, cluster: LocalCluster, directory: Path, stack: ExitStack) -> None:
        self.cluster = cluster
        self.running: list[Beat] = []
        self._directory = directory
        self._stack = stack
        self._number = 0

    def start(self, schedules: Mapping[str, Any], modules: str = MODULES) -> Beat:
        """Start one."""
        self._number += 1
        directory = self._directory / f"beat-{self._number}"
        directory.mkdir()
        variables = environment(
            self.cluster,
            directory,
            FLEET_SCHEDULES=json.dumps(schedules),
            FLEET_TASK_MODULES=modules,
            FLEET_BEAT_LEASE=str(LEASE),
        )
        beat = Beat(self._stack.enter_context(container("beat", variables, directory)))
        self.running.append(beat)
        return beat

    def wait_ready(self, *beats: Beat) -> None:
        """Wait until they lead or stand by."""
        for beat in beats:
            eventually(beat.healthy, f"beat {beat.pid} is healthy", PATIENCE)

    def leader(self) -> Beat:
        """Wait for somebody to lead."""
        found = eventually(
            lambda: [beat for beat in self.running if beat.leads(self.cluster)], "a beat leads", PATIENCE
        )
        return found[0]

    def wait_for_ticks(self, entry: str, count: int, queue: str = "celery") -> None:
        """Wait until so many more ticks of an entry arrived."""
        before = self.count(entry, queue)
        eventually(lambda: self.count(entry, queue) >= before + count, f"{count} more ticks of {entry}", PATIENCE)

    def count(self, entry: str, queue: str = "celery") -> int:
        return sum(tick.entry == entry for tick in arrived(self.cluster, queue))


@contextmanager
def beats_on(cluster: LocalCluster, directory: Path) -> Iterator[Beats]:
    """Beats that end with the test."""
    with ExitStack() as stack:
        yield Beats(cluster, directory, stack)


def forget_everything(cluster: LocalCluster) -> None:
    """Make a shared cluster one on which no beat ever ran."""
    for node in cluster.primaries:
        for key in node.admin.scan_iter(match=f"{fleet.BROKER_PREFIX}*"):
            node.admin.delete(key)
