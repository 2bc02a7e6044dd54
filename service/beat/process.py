"""`python -m service beat`: leads, or stands by."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from celery import Celery
from redis import exceptions

from service import heartbeat, logs
from service.app import create_app
from service.beat.declared import parse
from service.beat.entries import Entry, load, publish
from service.beat.leader import DEADLINE, Leader, NotLeadingError
from service.beat.ticker import Ticker
from service.rediscluster import options
from service.rediscluster.cluster import Cluster
from service.rediscluster.kept import KeptLanes
from service.rediscluster.naming import process_name
from service.settings import Settings, SettingsError, exit_with
from service.startup.waiting import StartupError, wait_for_everything
from service.worker import EXIT_STARTUP, missing_modules

_LOG = logging.getLogger(__name__)

#: Seconds between two steps of the lease.
PERIOD: Final = 1.0
#: Steps after which is noted again what we lead.
NOTE_AGAIN: Final = 5
#: Seconds for which a publish is repeated before the ticker looks whether it still leads.
PUBLISH_DEADLINE: Final = 5.0
#: Seconds without a round after which a ticker counts as stuck.
STUCK: Final = 90.0
#: Seconds that publishes under way get to end at SIGTERM; until then nobody else leads.
LAST_WORDS: Final = 3.0


def broker_options(app: Celery) -> dict[str, Any]:
    """Transport options of a beat: it would rather look again than wait."""
    return {**app.conf.broker_transport_options, "retry_deadline": PUBLISH_DEADLINE, "socket_timeout": DEADLINE}


def app_and_entries(settings: Settings) -> tuple[Celery, list[Entry]]:
    """The app of a beat, and all its entries.

    Raises:
        SettingsError: Some are wrong.
    """
    missing = missing_modules(settings.task_modules)
    if missing:
        raise SettingsError([f"FLEET_TASK_MODULES: there is no module {', '.join(missing)}"])
    declared = parse(settings.schedules)
    app = create_app(settings)
    entries = load(app, declared)
    # kombu must not wait for ever to connect, either.
    app.conf.broker_transport_options = {**broker_options(app), "max_retries": 1}
    return app, entries


def leader_of(app: Celery, me: str, lease: float) -> Leader:
    """The beats' leadership on an app's broker."""
    limits = {"socket_timeout": DEADLINE, "socket_connect_timeout": DEADLINE}
    return Leader(
        Cluster(options.parse(app.conf.broker_url, {**app.conf.broker_transport_options, **limits})), me, lease
    )


def tickers_of(app: Celery, entries: Sequence[Entry], leader: Leader) -> list[Ticker]:
    """One for each queue that has entries."""
    queues: dict[str, list[Entry]] = {}
    for entry in entries:
        queues.setdefault(entry.queue, []).append(entry)
    lanes = KeptLanes(app.conf.broker_url, app.conf.broker_transport_options)
    return [Ticker(queue, own, leader, lanes, partial(publish, app)) for queue, own in queues.items()]


class Beat:
    """The main loop: keeps the lease, and says that the process is alive while it does.

    Attributes:
        stopping: Set it to end `run`.
    """

    def __init__(self, leader: Leader, tickers: Sequence[Ticker], entries: Mapping[str, str]) -> None:
        """Set up; nothing runs yet.

        Args:
            leader: The lease.
            tickers: They publish.
            entries: Queue of each entry, by its name.
        """
        self.stopping = threading.Event()
        self._leader = leader
        self._tickers = tickers
        self._entries = entries
        self._led = ""
        self._cleaned = 0
        self._steps = 0

    def run(self) -> None:
        """Lead or stand by until `stopping` is set; then let somebody else lead."""
        for ticker in self._tickers:
            ticker.start()
        while not self.stopping.is_set():
            self._step()
            self.stopping.wait(PERIOD)
        self._leader.stop()
        ends = time.monotonic() + LAST_WORDS
        for ticker in self._tickers:
            ticker.join(max(0.0, ends - time.monotonic()))
        try:
            self._leader.leave()
        except (exceptions.RedisError, OSError) as error:
            _LOG.warning("the lease could not be given back, it ends by itself: %s", error)

    def _step(self) -> None:
        late = max((ticker.late() for ticker in self._tickers), default=0.0)
        try:
            leader = self._leader.step(late)
            self._keep_notes()
        except (exceptions.RedisError, OSError, NotLeadingError) as error:
            _LOG.warning("the beats' shard does not answer: %s", error)
            return
        if leader not in (self._led, self._leader.me):
            _LOG.info("standing by, %s leads", leader)
        self._led = leader
        stuck = [ticker.name for ticker in self._tickers if self._is_stuck(ticker)]
        if stuck:
            _LOG.error("not healthy: %s stand still", ", ".join(stuck))
        else:
            heartbeat.touch()

    def _is_stuck(self, ticker: Ticker) -> bool:
        return not ticker.is_alive() or time.monotonic() - ticker.looped > STUCK

    def _keep_notes(self) -> None:
        term = self._leader.term
        if term is None:
            return
        if term.number != self._cleaned:
            # Entries that we do not have are no entries: one that comes back later begins anew.
            self._leader.forget(name for name in term.taken or () if name not in self._entries)
            self._cleaned = term.number
        self._steps += 1
        if self._steps % NOTE_AGAIN == 0:
            self._leader.take_again()


def run(settings: Settings) -> int:
    """Lead or stand by until SIGTERM or SIGINT."""
    logs.configure(settings)
    heartbeat.clear()
    try:
        app, entries = app_and_entries(settings)
    except SettingsError as error:
        exit_with(error)
    try:
        wait_for_everything(settings)
    except StartupError as error:
        for problem in error.problems:
            _LOG.error(problem)
        sys.exit(EXIT_STARTUP)
    leader = leader_of(app, f"{process_name()}-{uuid.uuid4().hex[:8]}", settings.beat_lease)
    beat = Beat(leader, tickers_of(app, entries, leader), {entry.name: entry.queue for entry in entries})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: beat.stopping.set())
    _LOG.info("%d periodic tasks: %s", len(entries), ", ".join(entry.name for entry in entries) or "none is declared")
    beat.run()
    return 0
