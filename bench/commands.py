"""Commands that clients send, counted by MONITOR on all nodes.

INFO's counters also count what scripts call inside and what replicas are told; MONITOR tells them apart.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import redis

from bench.sides import Side
from bench.worker import Inbox, Publisher, worker

#: Seconds without a task: twice the idle timeout of the transport, and its worker's 2 s of starting.
IDLE = 22.0
#: Tasks of a full queue, and those that come one by one.
MANY, SINGLES = 1000, 50
#: Seconds between single tasks: by then their ack has been sent.
PAUSE = 0.2
#: The exchange of Celery's events, on which a worker says every two seconds that it lives, and hears it with gossip.
EVENTS = "celeryev"

_LINE = re.compile(r'^[\d.]+ \[\d+ (?P<client>\S+)\] "(?P<command>[^"]*)"(?P<rest>.*)$', re.DOTALL)


class Count:
    """Commands by name, filled when the watching ends.

    Attributes:
        names: How often each was sent.
        heartbeats: How many of them sent or read an event of Celery's.
        seconds: How long it was watched.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.names: Counter[str] = Counter()
        self.heartbeats = 0
        self.seconds = 0.0

    @property
    def rest(self) -> int:
        """Commands that have nothing to do with heartbeats."""
        return self.names.total() - self.heartbeats

    def add(self, lines: Iterable[str], servers: frozenset[int]) -> None:
        """Count the lines of one node's MONITOR; `servers` are the ports of nodes, whose commands are no client's."""
        for line in lines:
            found = _LINE.match(line)
            if found is None or found["client"] == "lua" or int(found["client"].rpartition(":")[2]) in servers:
                continue
            self.names[found["command"].upper()] += 1
            self.heartbeats += EVENTS in found["rest"]


@contextmanager
def counted(side: Side) -> Iterator[Count]:
    """Count what clients send to any node of a side."""
    count, mark = Count(), uuid4().hex
    servers = frozenset(_port(node) for node in side.nodes)
    with ExitStack() as stack:
        monitors = [(node, stack.enter_context(node.monitor())) for node in side.nodes]
        for node, monitor in monitors:
            # What our own connections say at their beginning is not meant.
            for _ in _until(monitor, node, f"start-{mark}"):
                pass
        started = time.monotonic()
        yield count
        count.seconds = time.monotonic() - started
        for node, monitor in monitors:
            count.add(_until(monitor, node, f"end-{mark}"), servers)


def _until(monitor: Any, node: redis.Redis, mark: str) -> Iterator[str]:
    """What the node was told up to now; it has waited in the server's buffer."""
    node.execute_command("ECHO", mark)
    while mark not in (line := str(monitor.connection.read_response())):
        yield line


def _port(node: redis.Redis) -> int:
    return int(node.connection_pool.connection_kwargs["port"])


def commands(side: Side) -> dict[str, list[float]]:
    """Commands per task from publish to ack, with a full queue and one by one, and those of an idle worker."""
    with Inbox() as inbox, Publisher(side) as publisher, worker(side, inbox):
        publisher.fill(20, every=20)
        inbox.read()
        time.sleep(3)
        with counted(side) as idle:
            time.sleep(IDLE)

        def many() -> None:
            publisher.fill(MANY, every=MANY)
            inbox.read()
            time.sleep(PAUSE)

        def singles() -> None:
            for _ in range(SINGLES):
                publisher.send("single")
                inbox.read()
                time.sleep(PAUSE)

        figures = {
            "commands": [_per_task(side, many, MANY, idle)],
            "commands-single": [_per_task(side, singles, SINGLES, idle)],
            "commands-idle": [idle.rest / idle.seconds],
            "commands-heartbeat": [idle.heartbeats / idle.seconds],
        }
    side.clear()
    return figures


def _per_task(side: Side, work: Callable[[], None], number: int, idle: Count) -> float:
    with counted(side) as count:
        work()
    return (count.rest - idle.rest / idle.seconds * count.seconds) / number
