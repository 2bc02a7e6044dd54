"""One run: a fresh cluster, a small fleet, steady traffic, one fault after the other, and the verdict."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from scripts.localcluster import LocalCluster
from service.fleet import REDIS_ACCESS_STRING
from service.rediscluster import BrokerInspector
from service.rediscluster.session import close_all
from tests.chaos import leaks
from tests.chaos.app import credentials, make_app
from tests.chaos.faults import happen
from tests.chaos.fleet import CHILDREN, Fleet
from tests.chaos.judge import Judgement, Sent, Strike, judge, seconds_until_flowing, table, timeline
from tests.chaos.ledger import Reader, Record
from tests.chaos.network import Network
from tests.chaos.plan import Kind, schedule
from tests.chaos.traffic import Traffic
from tests.chaos.world import FLOW_DEADLINE, World
from tests.rediscluster.faultapp import Plan
from tests.rediscluster.faultkit import heal

QUEUES = ("chaos-a", "chaos-b", "chaos-c", "chaos-d")
WORKERS = 2
PREFIX = "broker:"
#: Seconds.
LEASE = 6.0
#: Milliseconds until a silent node counts as failed: a busy machine lets one stand still for seconds.
NODE_TIMEOUT_MS = 5_000
#: Seconds within which all work must be done at the end.
END_DEADLINE = 90.0
#: Seconds after which the temporary queues of workers that were killed must be gone.
KEYS_DEADLINE = 40.0
#: Seconds after which nothing else may be left of the fleet.
LEFT_DEADLINE = 30.0

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


def run(
    seed: int,
    seconds: float,
    kinds: Collection[Kind],
    network: Network | None,
    say: Say,
    *,
    one_seed: bool,
    whole_round: bool = False,
    directory: str | None = None,
) -> Outcome:
    """Let faults happen for some seconds, then judge.

    Args:
        seed: Of the faults and their targets.
        seconds: How long faults are begun.
        kinds: Only these happen, at the places that the seed gives them.
        network: Where packets can be dropped; needed by some kinds.
        say: Told what happens.
        one_seed: Whether clients are told of one node instead of all.
        whole_round: Whether every kind happens at least once, however long that takes.
        directory: Where to keep the ledger and all logs; None removes them.
    """
    with contextlib.ExitStack() as stack:
        directory = directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
        cluster = LocalCluster(
            access_string=REDIS_ACCESS_STRING,
            directory=Path(directory, "cluster"),
            node_timeout_ms=NODE_TIMEOUT_MS,
            appendonly=True,
            movable_clocks=True,
        )
        stack.enter_context(cluster)
        plan = Plan(_url(cluster, 1 if one_seed else len(cluster.nodes)), directory, QUEUES[0], OPTIONS, CONF)
        provider = credentials(plan)
        provider.change(cluster.username, cluster.password)
        reader = Reader(plan.ledger)
        app = make_app(plan)
        stack.callback(app.close)
        # Celery makes it at first use; threads that come at the same time would each make one.
        assert app.backend
        groups = [network.worker_group(place) if network else None for place in range(WORKERS)]
        fleet = Fleet(plan, reader, QUEUES, groups)
        stack.callback(fleet.kill)
        traffic = Traffic(app, QUEUES, seed, as_group=network is not None)
        stack.callback(traffic.stop, 0)
        scene = Scene(World(cluster, fleet, traffic, reader, QUEUES, PREFIX, LEASE, provider, network), say)
        scene.strike(seed, seconds, kinds, len(Kind) if whole_round else 0)
        return scene.end(lambda: _close(app))


def _url(cluster: LocalCluster, seeds: int) -> str:
    """The URL that names so many nodes, and no password: that one changes."""
    return f"rediscluster://{','.join(f'127.0.0.1:{node.port}' for node in cluster.nodes[:seeds])}"


def _close(app: Celery) -> None:
    app.close()
    close_all()
    # Celery leaves its result backend open, which listens for the results of chords.
    backend: Any = app.backend
    backend.result_consumer.stop()
    backend.client.cluster.close()


class Scene:
    """A run under way."""

    def __init__(self, world: World, say: Say) -> None:
        self._world, self._say = world, say
        self._strikes: list[Strike] = []
        self._problems: list[str] = []

    def strike(self, seed: int, seconds: float, kinds: Collection[Kind], least: int) -> None:
        """Let one fault happen after the other, until the time is up or something does not flow any more.

        The first `least` of the plan happen whatever the time is.
        """
        ends = time.monotonic() + seconds
        steps = schedule(seed, workers=WORKERS, children=CHILDREN, queues=len(QUEUES))
        with self._noting_failures():
            self._world.wait_flowing(time.monotonic())
            for number, step in enumerate(steps, 1):
                if time.monotonic() >= ends and number > least:
                    break
                if step.kind not in kinds:
                    continue
                self._say(f"{number}. {step}")
                now = time.monotonic()
                made = Strike(step, since=now, struck=now)
                self._strikes.append(made)
                happen(self._world, made)
                self._world.wait_flowing(made.healed)
                self._problems += self._world.fleet.check()

    def end(self, close: Callable[[], None]) -> Outcome:
        """Wait for what is under way, end the fleet, and judge."""
        world = self._world
        self._say("no more faults: waiting until everything is done")
        with self._noting_failures():
            # A fault that failed may have left something broken.
            heal(world.cluster)
        self._problems += world.traffic.stop(FLOW_DEADLINE)
        sent = list(world.traffic.sent)
        numbers = {task.number for task in sent}
        leaks.wait_gone(lambda: sorted(map(str, numbers - world.reader.read().done.keys())), END_DEADLINE)
        with self._noting_failures(), contextlib.closing(BrokerInspector(world.cluster.url, OPTIONS)) as inspector:
            self._problems += leaks.wait_gone(lambda: leaks.in_queues(inspector, QUEUES), LEFT_DEADLINE)
            self._problems += world.fleet.stop()
            self._problems += leaks.wait_gone(lambda: leaks.processes(world.fleet), LEFT_DEADLINE)
            self._problems += self._left("key", lambda: leaks.keys(world.cluster, QUEUES, PREFIX), KEYS_DEADLINE)
        close()
        with self._noting_failures():
            self._problems += self._left("connection", lambda: leaks.clients(world.cluster), LEFT_DEADLINE)
        record = world.reader.read()
        for made in self._strikes:
            made.flowing = seconds_until_flowing(made, sent, record, QUEUES)
        judgement = judge(sent, record, self._strikes, LEASE)
        return Outcome(sent, record, self._strikes, judgement, self._problems + judgement.problems())

    @contextlib.contextmanager
    def _noting_failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  a run that fails is judged all the same
            self._problems.append(f"{type(error).__name__}: {error}")

    @staticmethod
    def _left(what: str, find: Callable[[], list[str]], within: float) -> list[str]:
        return [f"{what} left: {found}" for found in leaks.wait_gone(find, within)]
