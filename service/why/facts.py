"""What the cluster knows of a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from celery import Celery
from celery.states import PENDING, SUCCESS
from kombu.exceptions import KombuError
from redis import exceptions

from service.deadletters.letter import Selection, Summary
from service.deadletters.store import StoreError, open_store
from service.rediscluster.failures import NO_RETRY_LEFT
from service.rediscluster.find import Finder, Search
from service.settings import Settings

#: Seconds to wait for a shard with results that does not answer.
RESULT_DEADLINE: Final = 2.0
#: The name of the results among what could not be asked.
RESULTS: Final = "results"
#: Why messages are dead that nobody could read.
UNDECODABLE: Final = "undecodable"
#: The name of the store of dead letters among what could not be asked.
LETTERS: Final = "dead letters"


@dataclass(frozen=True)
class Ended:
    """The task's result: how it ended, or the last state that a run of it stored.

    Attributes:
        state: Celery's: SUCCESS, FAILURE, REVOKED, RETRY, STARTED.
        at: When, in ISO format; None where Celery notes no time.
        retries: How often it was tried again before; None if that was not stored.
        worker: Who ran it; None if that was not stored.
        error: The last line of the traceback.
        result: What it returned, if that was asked for.
    """

    state: str
    at: str | None = None
    retries: int | None = None
    worker: str | None = None
    error: str | None = None
    result: Any = None


@dataclass(frozen=True)
class Facts:
    """Everything that was found out.

    Attributes:
        task_id: The task.
        search: Its messages.
        ended: Its result; None if there is none.
        letters: Dead letters of it in the store that nobody has handled.
        unasked: What could not be asked, and why.
        delivery_limit: A message that was lost or requeued more often is dead.
        result_expires: Seconds for which results are kept.
    """

    task_id: str
    search: Search
    ended: Ended | None = None
    letters: tuple[Summary, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict)
    delivery_limit: int = 0
    result_expires: int = 0

    @property
    def found(self) -> bool:
        """Whether anything is known of the task."""
        return bool(self.search.sightings or self.search.completed or self.ended or self.letters)

    @property
    def name(self) -> str:
        """The task's name, or nothing if no message tells it."""
        names: Iterator[str] = (str(sighting.headers.get("task") or "") for sighting in self.search.sightings)
        return next((name for name in (*names, *(letter.task for letter in self.letters)) if name), "")


def gather(app: Celery, settings: Settings, task_id: str, *, with_result: bool = False) -> Facts:
    """Ask queues, results and, if the task may be among them, the store of dead letters.

    Raises:
        ClusterUnavailableError: No node of the cluster answered.
        ConfigurationError: The settings do not lead to a cluster.
    """
    finder = Finder(app.conf.broker_url, app.conf.broker_transport_options)
    try:
        search = finder.find(settings.queue_names, task_id)
    finally:
        finder.close()
    unasked = dict(search.unasked)
    # After the queues: a result is stored before its message goes.
    ended: Ended | None = None
    try:
        ended = _ended(app, task_id, with_result=with_result)
    except (exceptions.RedisError, OSError, KombuError) as error:
        unasked[RESULTS] = str(error)
    letters: tuple[Summary, ...] = ()
    if not search.sightings and (ended is None or ended.state != SUCCESS):
        try:
            letters = _letters(settings, task_id)
        except StoreError as error:
            unasked[LETTERS] = str(error)
    return Facts(task_id, search, ended, letters, unasked, finder.delivery_limit, settings.result_expires)


def _ended(app: Celery, task_id: str, *, with_result: bool) -> Ended | None:
    app.conf.result_backend_transport_options["retry_deadline"] = RESULT_DEADLINE
    meta = app.backend.get_task_meta(task_id, cache=False)
    if meta["status"] == PENDING:
        return None
    result = meta["result"]
    # The exception stands last, but for our own note on it.
    lines = [line for line in (meta.get("traceback") or "").strip().splitlines() if line != NO_RETRY_LEFT]
    error = lines[-1] if lines else repr(result) if isinstance(result, Exception) else None
    return Ended(
        meta["status"],
        meta.get("date_done"),
        meta.get("retries"),
        meta.get("worker"),
        error,
        result if with_result and not isinstance(result, Exception) else None,
    )


def _letters(settings: Settings, task_id: str) -> tuple[Summary, ...]:
    store = open_store(settings)
    if store is None:
        return ()
    found = (letter for letter in store.find(Selection()) if letter.task_id == task_id)
    # Where no task ran, the exception may quote the body.
    return tuple(replace(letter, exception="") if letter.reason == UNDECODABLE else letter for letter in found)
