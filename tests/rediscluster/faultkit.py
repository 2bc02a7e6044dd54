"""What the fault tests share: workers that can be killed, traffic, and the verdict on what became of the messages."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from uuid import uuid4

from kombu import Connection, Consumer, Producer, Queue

from scripts.localcluster import LocalCluster, Node
from service.rediscluster.broker import Broker, Delivery
from service.rediscluster.keys import QueueKeys
from service.rediscluster.options import parse
from tests.rediscluster import faultapp
from tests.rediscluster.faultapp import Plan

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
#: Seconds that anything may take on a busy machine before the test gives up.
PATIENCE = 45.0
#: Seconds that a worker may take to start.
START = 120.0


def eventually(condition: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """Poll until a condition is true, and return it; the failure says what did not happen."""
    ends = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < ends, f"{what}: not within {within:g} s"
        time.sleep(0.02)
    return value


class Entry(NamedTuple):
    """A line of the ledger."""

    event: str
    number: int
    worker: int
    process: int


def read_ledger(plan: Plan) -> list[Entry]:
    """Everything that the tasks noted."""
    with contextlib.suppress(FileNotFoundError):
        lines = plan.ledger.read_text().rpartition("\n")[0].splitlines()  # the last may be half-written
        return [Entry(event, int(n), int(w), int(p)) for event, n, w, p in (line.split() for line in lines)]
    return []


@dataclass(frozen=True)
class Verdict:
    """What became of the messages.

    Attributes:
        broke: What was broken.
        sent: Numbers that were published.
        run: How often each number arrived, and was worked on.
    """

    broke: str
    sent: frozenset[int]
    run: Mapping[int, int]

    @property
    def lost(self) -> list[int]:
        """What was published and never arrived."""
        return sorted(self.sent - set(self.run))

    @property
    def twice(self) -> list[int]:
        """What arrived more than once."""
        return sorted(number for number, times in self.run.items() if times > 1)

    @property
    def strange(self) -> list[int]:
        """What arrived although nobody published it."""
        return sorted(set(self.run) - self.sent)

    def __str__(self) -> str:
        return (
            f"{self.broke}: sent {len(self.sent)}, arrived {len(self.run)}, lost {self.lost}, "
            f"ran twice {self.twice}, never sent {self.strange}"
        )

    def demand(self, *, may_run_twice: Iterable[int] = ()) -> None:
        """Fail unless everything arrived, and once; some may have arrived more than once."""
        assert not self.lost, f"messages were lost. {self}"
        assert not self.strange, f"messages came from nowhere. {self}"
        too_often = sorted(set(self.twice) - set(may_run_twice))
        assert not too_often, f"{too_often} ran twice without a reason. {self}"


def verdict(broke: str, sent: Iterable[int], plan: Plan, event: str = "done") -> Verdict:
    """The verdict that the ledger gives; `event` says what counts as having run."""
    return Verdict(broke, frozenset(sent), Counter(e.number for e in read_ledger(plan) if e.event == event))


class Worker:
    """A Celery worker in a process group of its own."""

    def __init__(
        self, plan: Plan, pool: str = "prefork", concurrency: int = 2, *, mingle: bool = False, **environment: str
    ) -> None:
        """Start it; without mingle it is ready a second earlier."""
        #: As the names of its leases tell.
        self.name = f"{time.monotonic_ns()}@fault"
        command = ["celery", "-A", f"{faultapp.__name__}:worker_app", "worker"]
        command += ["-P", pool, "-c", str(concurrency), "-l", "INFO", "-n", self.name]
        if not mingle:
            command.append("--without-mingle")
        self._start(plan, command, os.environ | environment)

    def _start(self, plan: Plan, module: Sequence[str], environment: Mapping[str, str]) -> None:
        self.plan = plan
        self.log = Path(plan.directory, f"worker-{time.monotonic_ns()}.log")
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, faultapp.PLAN: plan.dump()},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the main process, which is also the process group."""
        return self.process.pid

    def wait_ready(self) -> Self:
        """Wait until it consumes."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the worker ended at once:\n{self.log.read_text()}"
            return any(entry.event == "ready" and entry.worker == self.pid for entry in read_ledger(self.plan))

        eventually(ready, f"worker {self.pid} is ready, see {self.log}", START)
        return self

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the worker and its pool."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """End the worker and its pool at once."""
        with contextlib.suppress(ProcessLookupError):
            self.signal_group(signal.SIGKILL)
        self.process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the main process to end; returns its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit status, once it has ended."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker does not end:\n{self.log.read_text()[-4000:]}") from None

    def open_gate(self) -> None:
        """Let the tasks end that wait in this worker, now and later."""
        self.plan.gate(self.pid).touch()

    def began(self) -> set[int]:
        """What this worker began to work on."""
        return {e.number for e in read_ledger(self.plan) if e.event == "began" and e.worker == self.pid}


class Workers:
    """Starts workers of a kind, and leaves none behind."""

    def __init__(self, kind: Callable[..., Worker] = Worker) -> None:
        self.all: list[Worker] = []
        self._kind = kind

    def __call__(self, plan: Plan, *args: Any, **kwargs: Any) -> Worker:
        """Start one and wait until it consumes."""
        return self.launch(plan, *args, **kwargs).wait_ready()

    def launch(self, plan: Plan, *args: Any, **kwargs: Any) -> Worker:
        """Start one."""
        worker = self._kind(plan, *args, **kwargs)
        self.all.append(worker)
        return worker

    def end(self) -> None:
        """Kill what is left."""
        for worker in self.all:
            worker.kill()


@contextlib.contextmanager
def direct(url: str, queue: str, **options: Any) -> Iterator[tuple[Broker, Any]]:
    """A broker below kombu, and the keys of a queue."""
    broker = Broker(parse(url, options))
    try:
        yield broker, broker.keys(queue)
    finally:
        broker.cluster.close()


def take_all(url: str, queue: str) -> list[Delivery]:
    """Take and acknowledge everything that is ready in a queue."""
    with direct(url, queue) as (broker, keys):
        taken = broker.settle(keys, "inspection", 10_000, 1).deliveries
        broker.settle(keys, "inspection", 0, 1, [delivery.ack for delivery in taken])
        return taken


def waiting(url: str, queue: str, **options: Any) -> list[Delivery]:
    """Everything that is ready in a queue, in its order; it is taken and given back to its place."""
    with direct(url, queue, **options) as (broker, keys):
        taken = broker.settle(keys, uuid4().hex, 10_000, 1).deliveries
        broker.release(keys, [delivery.ack.lease for delivery in taken], lost=False)
        return taken


def come_due(broker: Broker, keys: QueueKeys, at: float = 0.001) -> None:
    """Let everything that is delayed become due at a moment, long ago by default."""
    call = broker.cluster.call
    for member in filter(None, call(keys.delayed, "ZRANGE", keys.delayed, 0, -1)):
        call(keys.delayed, "ZADD", keys.delayed, "XX", int(at * 1000), member)


def end_leases(broker: Broker, keys: QueueKeys, of: str = "") -> None:
    """Let the leases of all, or of one worker, have ended long ago."""
    call = broker.cluster.call
    # Where nobody has looked for long, every lease is protected for as long as one.
    call(keys.meta, "HSET", keys.meta, "seen", int(time.time() * 1000), "quiet_until", 0)
    for lease in filter(None, call(keys.leases, "ZRANGE", keys.leases, 0, -1)):
        if f"@{of}:" in lease.decode() or not of:
            call(keys.leases, "ZADD", keys.leases, "XX", 1, lease)


class Traffic:
    """Publishes numbers and consumes them at the same time, each in a thread with a connection of its own."""

    def __init__(self, url: str, queue: str, *, also: Iterable[str] = (), prefetch: int = 10, **options: Any) -> None:
        """`also` are queues that are consumed besides, into which nothing is published."""
        self.url, self.queue, self.prefetch = url, queue, prefetch
        self._consumed = [Queue(name) for name in (*also, queue)]
        # Different clients must not share a session: each is a process of its own in real life.
        self._options = {"idle_timeout": 2.0, "lease": 10.0, "socket_timeout": 2.0} | options
        self.sent: list[int] = []
        self.run: list[int] = []
        self.failures: list[str] = []
        self._publishing = threading.Event()
        self._between = threading.Lock()
        self._stopping = False
        self._threads = [threading.Thread(target=self._guard, args=(run,)) for run in (self._publish, self._consume)]

    def __enter__(self) -> Self:
        self._publishing.set()
        for thread in self._threads:
            thread.start()
        self.wait_progress()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._publishing.set()
        for thread in self._threads:
            thread.join()

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:
            self.failures.append(f"{run.__name__}: {error!r}")
            raise

    def _connection(self, name: str) -> Connection:
        return Connection(self.url, transport_options=self._options | {"client_name": name})

    def _publish(self) -> None:
        with self._connection("producer") as connection:
            channel = connection.channel()
            producer = Producer(channel)
            Queue(self.queue)(channel).declare()
            number = 0
            while not self._stopping:
                self._publishing.wait()
                with self._between:
                    producer.publish(number, routing_key=self.queue, retry=True, retry_policy={"max_retries": 3})
                    self.sent.append(number)
                number += 1
                time.sleep(0.002)

    def _consume(self) -> None:
        def take(body: Any, message: Any) -> None:
            self.run.append(int(body))
            message.ack()

        with self._connection("consumer") as connection:
            consumer = Consumer(connection, self._consumed, callbacks=[take], prefetch_count=self.prefetch)
            with consumer:
                while not self._stopping:
                    with contextlib.suppress(socket.timeout):
                        connection.drain_events(timeout=0.2)

    def pause(self) -> None:
        """Publish nothing more; returns when no publish is under way."""
        self._publishing.clear()
        with self._between:
            pass

    def resume(self) -> None:
        """Go on publishing."""
        self._publishing.set()

    def wait_progress(self, number: int = 50, within: float = PATIENCE) -> None:
        """Wait until so many messages that are published from now on have arrived."""
        first = len(self.sent)

        def arrived() -> bool:
            self.check()
            return sum(n >= first for n in self.run) >= number

        eventually(arrived, f"{number} messages after the first {first} arrive ({self.state()})", within)

    def check(self) -> None:
        """Fail if a client gave up."""
        assert not self.failures, f"a client gave up: {self.failures}"

    def state(self) -> str:
        """Numbers for a failure's text."""
        return f"sent {len(self.sent)}, arrived {len(set(self.run))}"

    def finish(self, broke: str, within: float = PATIENCE) -> Verdict:
        """Stop publishing, wait for what is under way, and judge."""
        self.pause()
        ends = time.monotonic() + within
        while set(self.sent) - set(self.run) and not self.failures and time.monotonic() < ends:
            time.sleep(0.02)
        self.check()
        return Verdict(broke, frozenset(self.sent), Counter(self.run))


def wait_replicated(cluster: LocalCluster, primary: Node) -> None:
    """Wait until a replica has everything that the primary had when this was called."""
    written = int(primary.admin.info("replication")["master_repl_offset"])

    def caught_up() -> bool:
        return any(
            int(replica.admin.info("replication")["slave_repl_offset"]) >= written
            for replica in cluster.replicas_of(primary)
        )

    eventually(caught_up, f"the replica of {primary} has offset {written}")


def heal(cluster: LocalCluster) -> None:
    """Bring all nodes back, as replicas of those that took over."""
    for node in cluster.nodes:
        if node.alive and not node.responsive:
            cluster.thaw(node)
    cluster.wait_until_stable()
    for node in cluster.nodes:
        if not node.alive:
            cluster.restart(node)
    cluster.wait_until_stable()
    for primary in cluster.primaries:
        eventually(lambda primary=primary: cluster.replicas_of(primary), f"{primary} has a replica again")  # type: ignore[misc]
