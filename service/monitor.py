"""The one publisher of metrics: reads every queue and the beat, tells CloudWatch, survives both being away."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service import fleet, heartbeat, logs
from service.app import create_app
from service.beat.process import leader_of
from service.beat.watch import BeatWatch
from service.metrics import Stats, metric_data, since
from service.rediscluster import BrokerInspector
from service.settings import Settings

_LOG = logging.getLogger(__name__)


class CloudWatch(Protocol):
    """The part of boto3's client that is used."""

    def put_metric_data(self, *, Namespace: str, MetricData: Sequence[Any]) -> object:  # noqa: N803  boto3's names
        """Publish."""


class Monitor:
    """Reads the queues and publishes what it read.

    Attributes:
        stopping: Set it to end `run`.
    """

    def __init__(
        self,
        stack: str,
        read: Callable[[str], Stats],
        cloudwatch: CloudWatch,
        *,
        queues: Sequence[str] = fleet.QUEUE_NAMES,
        period: float = fleet.METRIC_PERIOD,
        beat: BeatWatch | None = None,
    ) -> None:
        """Set up; nothing is read yet.

        Args:
            stack: The stack's name, a dimension of every metric.
            read: Reads one queue; may raise and may take long.
            cloudwatch: Where to publish.
            queues: Which queues.
            period: Seconds between two publications.
            beat: Reads the beat.
        """
        self._stack = stack
        self._read = read
        self._cloudwatch = cloudwatch
        self._queues = queues
        self._period = period
        self._beat = beat
        self._pending: dict[str, Future[Stats]] = {}
        #: As it was when it was last told, and when it was last published.
        self._told: dict[str, Stats] = {}
        self._published: dict[str, Stats] = {}
        # One thread per queue: a shard that does not answer silences its own queues only.
        self._threads = ThreadPoolExecutor(len(queues), thread_name_prefix="read")
        self.stopping = threading.Event()

    def run(self) -> None:
        """Publish every period, on a fixed beat, until `stopping` is set."""
        due = time.monotonic()
        while not self.stopping.is_set():
            self.publish()
            heartbeat.touch()
            due = max(due + self._period, time.monotonic())
            self.stopping.wait(due - time.monotonic())
        self._threads.shutdown(wait=False, cancel_futures=True)

    def publish(self) -> None:
        """Read once and publish once; what fails is logged and tried again at the next beat."""
        stats = self._collect()
        now = datetime.now(UTC)
        data = metric_data(self._stack, stats, now, self._published)
        if self._beat is not None:
            data += self._beat.data(self._stack, now)
        if not data:
            return
        self._tell(stats)
        try:
            self._cloudwatch.put_metric_data(Namespace=fleet.METRIC_NAMESPACE, MetricData=data)
        except (BotoCoreError, ClientError) as error:
            _LOG.error("metrics were not published: %s", error)
        else:
            # Only now: what happened since is counted at the next beat if this one did not arrive.
            self._published |= stats
            _LOG.debug("published %d metrics", len(data))

    def _tell(self, stats: dict[str, Stats]) -> None:
        """Say what happened since the last beat; that nobody asked for it is why it is said."""
        for name, state in stats.items():
            _, recovered, buried = since(state, self._told.get(name, state))
            if recovered:
                _LOG.warning("queue %s: %d messages came back, their holders stopped renewing leases", name, recovered)
            if buried:
                _LOG.warning("queue %s: %d messages moved to the dead list, %d are there", name, buried, state.dead)
        self._told |= stats

    def _collect(self) -> dict[str, Stats]:
        for name in self._queues:
            # A read that still hangs from an earlier beat is not started twice.
            if name not in self._pending:
                self._pending[name] = self._threads.submit(self._read, name)
        wait(self._pending.values(), timeout=self._period / 2)
        stats: dict[str, Stats] = {}
        for name, future in list(self._pending.items()):
            if not future.done():
                _LOG.warning("queue %s: no answer yet", name)
                continue
            del self._pending[name]
            try:
                stats[name] = future.result()
            except Exception as error:  # noqa: BLE001  whatever a cluster in trouble raises, the monitor outlives it
                _LOG.warning("queue %s could not be read: %s: %s", name, type(error).__name__, error)
        return stats


def run(settings: Settings) -> int:
    """Publish until SIGTERM or SIGINT."""
    logs.configure(settings)
    heartbeat.clear()
    app = create_app(settings)
    inspector = BrokerInspector(settings.broker_url, app.conf.broker_transport_options)
    beat = BeatWatch(leader_of(app, "monitor", settings.beat_lease).standing, settings.watch_beat)
    monitor = Monitor(settings.stack, inspector.stats, _client(settings), queues=settings.queue_names, beat=beat)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: monitor.stopping.set())
    queues = len(settings.queue_names)
    _LOG.info("publishing %d queues to %s every %d s", queues, fleet.METRIC_NAMESPACE, fleet.METRIC_PERIOD)
    monitor.run()
    inspector.close()
    return 0


def _client(settings: Settings) -> CloudWatch:
    # Few and short attempts: the next beat is the better retry, and SIGTERM must not wait for a dead endpoint.
    config = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
    return boto3.client("cloudwatch", region_name=settings.aws_region, config=config)
