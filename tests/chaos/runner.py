"""One run: a fresh cluster, a small fleet, steady traffic, one fault after the other, and the verdict."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from celery import Celery

from scripts.localcluster import LocalCluster
from service.fleet import REDIS_ACCESS_STRING
from service.rediscluster import BrokerInspector
from service.rediscluster.session import close_all
from tests.chaos import leaks
from tests.chaos.app import make_app
from tests.chaos.faults import Faults
from tests.chaos.fleet import CHILDREN, Fleet
from tests.chaos.judge import Judgement, Sent, Strike, judge, seconds_until_flowing, table, timeline
from tests.chaos.ledger import Reader, Record
from tests.chaos.plan import schedule
from tests.chaos.traffic import Traffic
from tests.rediscluster.faultapp import Plan
from tests.rediscluster.faultkit import eventually, heal

QUEUES = ("chaos-a", "chaos-b", "chaos-c", "chaos-d")
WORKERS = 2
PREFIX = "broker:"
#: Seconds.
LEASE = 6.0
#: Milliseconds until a silent node counts as failed: as short as a busy machine allows.
NODE_TIMEOUT_MS = 1_500
#: Seconds within which all queues must flow again after a fault, and all work be done at the end.
FLOW_DEADLINE, END_DEADLINE = 45.0, 90.0
#: Seconds after which the temporary queues of workers that were killed must be gone.
KEYS_DEADLINE = 40.0
#: Tasks of each queue that must be done before it counts as flowing.
FLOWING = 3

OPTIONS = {"lease": LEASE, "idle_timeout": 2.0, "socket_timeout": 2.0, "key_prefix": PREFIX, "client_name": "chaos"}
CONF = {
    "result_backend_transport_options": {"socket_timeout": 2.0, "client_name": "chaos-results"},
    "result_expires": 600,
    "control_queue_expires": 10.0,
    "event_queue_expires": 10.0,
    # Never given up: a publish that fails for good would be made anew, and that makes two messages.
    "task_publish_retry_policy": {"max_retries": None, "interval_start": 0, "interval_step": 0.2, "interval_max": 1},
}

Say = Callable[[str], None]


@dataclass
class Outcome:
    """How a run ended."""

    sent: list[Sent]
    record: Record
    strikes: list[Strike]
    judgement: Judgement
    problems: list[str]

    def table(self) -> str:
        """The verdict as markdown."""
        return table(self.strikes, self.judgement)

    def details(self, origin: float) -> list[str]:
        """What ran more than once, and when it did, in seconds since `origin`."""
        return timeline(self.sent, self.record, self.judgement, origin)


def run(seed: int, seconds: float, say: Say) -> Outcome:
    """Let faults happen for some seconds, then judge.

    Args:
        seed: Of the faults and their targets.
        seconds: How long faults are begun.
        say: Told what happens.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        cluster = LocalCluster(access_string=REDIS_ACCESS_STRING, node_timeout_ms=NODE_TIMEOUT_MS)
        stack.enter_context(cluster)
        plan = Plan(_url_of_all(cluster), directory, QUEUES[0], OPTIONS, CONF)
        reader = Reader(plan.ledger)
        app = make_app(plan)
        stack.callback(app.close)
        # Celery makes it at first use; threads that come at the same time would each make one.
        assert app.backend
        fleet = Fleet(plan, reader, QUEUES, WORKERS)
        stack.callback(fleet.kill)
        traffic = Traffic(app, QUEUES, seed)
        stack.callback(traffic.stop, 0)
        scene = Scene(Faults(cluster, fleet, traffic, reader, QUEUES, PREFIX, LEASE), say)
        scene.strike(seed, seconds)
        return scene.end(lambda: _close(app))


def _url_of_all(cluster: LocalCluster) -> str:
    """The URL with every node as a seed, as a configuration endpoint names every node.

    With one seed, a pool process that needs the cluster for the first time while that node is frozen finds nobody.
    """
    url, _, _ = cluster.url.rpartition("@")
    return f"{url}@{','.join(f'127.0.0.1:{node.port}' for node in cluster.nodes)}"


def _close(app: Celery) -> None:
    app.close()
    close_all()
    # Celery leaves its result backend open, which listens for the results of chords.
    backend: Any = app.backend
    backend.result_consumer.stop()
    backend.client.cluster.close()


class Scene:
    """A run under way."""

    def __init__(self, faults: Faults, say: Say) -> None:
        self._faults, self._say = faults, say
        self._strikes: list[Strike] = []
        self._problems: list[str] = []

    def strike(self, seed: int, seconds: float) -> None:
        """Let one fault happen after the other, until the time is up or something does not flow any more."""
        ends = time.monotonic() + seconds
        steps = schedule(seed, workers=WORKERS, children=CHILDREN, queues=len(QUEUES))
        with self._noting_failures():
            self._wait_flowing(time.monotonic())
            for number, step in enumerate(steps, 1):
                if time.monotonic() >= ends:
                    break
                self._say(f"{number}. {step}")
                strike = self._faults.strike(step)
                self._strikes.append(strike)
                self._wait_flowing(strike.healed)
                self._problems += self._faults.fleet.check()

    def end(self, close: Callable[[], None]) -> Outcome:
        """Wait for what is under way, end the fleet, and judge."""
        faults = self._faults
        self._say("no more faults: waiting until everything is done")
        with self._noting_failures():
            # A fault that failed may have left something broken.
            heal(faults.cluster)
        self._problems += faults.traffic.stop(FLOW_DEADLINE)
        sent = list(faults.traffic.sent)
        numbers = {task.number for task in sent}
        leaks.wait_gone(lambda: sorted(map(str, numbers - faults.reader.read().done.keys())), END_DEADLINE)
        with self._noting_failures(), contextlib.closing(BrokerInspector(faults.cluster.url, OPTIONS)) as inspector:
            self._problems += leaks.wait_gone(lambda: leaks.in_queues(inspector, QUEUES), 2 * LEASE)
            self._problems += faults.fleet.stop()
            self._problems += leaks.wait_gone(lambda: leaks.processes(faults.fleet), LEASE)
            self._problems += self._left("key", lambda: leaks.keys(faults.cluster, QUEUES, PREFIX), KEYS_DEADLINE)
        close()
        with self._noting_failures():
            self._problems += self._left("connection", lambda: leaks.clients(faults.cluster), LEASE)
        record = faults.reader.read()
        for strike in self._strikes:
            strike.flowing = seconds_until_flowing(strike, sent, record, QUEUES)
        judgement = judge(sent, record, self._strikes, LEASE)
        return Outcome(sent, record, self._strikes, judgement, self._problems + judgement.problems())

    def _wait_flowing(self, since: float) -> None:
        traffic, reader = self._faults.traffic, self._faults.reader

        def flowing() -> bool:
            done = reader.read().done
            counts = dict.fromkeys(QUEUES, 0)
            for task in reversed(traffic.sent):
                counts[task.queue] += task.asked >= since and task.number in done
            return min(counts.values()) >= FLOWING

        eventually(flowing, f"all queues flow again ({len(traffic.sent)} sent)", FLOW_DEADLINE)

    @contextlib.contextmanager
    def _noting_failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  a run that fails is judged all the same
            self._problems.append(f"{type(error).__name__}: {error}")

    @staticmethod
    def _left(what: str, find: Callable[[], list[str]], within: float) -> list[str]:
        return [f"{what} left: {found}" for found in leaks.wait_gone(find, within)]
