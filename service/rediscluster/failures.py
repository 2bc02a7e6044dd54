"""A task that failed for good puts its message on the dead list, where Celery acknowledges it and it is gone.

`Request` is what Celery's worker makes of a message, for tasks with
`Request = "service.rediscluster.failures:Request"`. The message is moved under its lease, in one step with the reason:
there is no moment in which it is neither held nor dead. What Celery does besides (result, callbacks, chord, events)
stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined] # not in the stubs
from celery import states
from celery.exceptions import (
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.worker.request import Request as CeleryRequest

from .broker import Delivery
from .deadlist import Cause, report, word

logger = logging.getLogger(__name__)

#: Reasons on the dead list.
FAILED, EXHAUSTED, REJECTED = "failed", "retries-exhausted", "rejected"
SOFT_LIMIT, HARD_LIMIT, WORKER_LOST = "soft-time-limit", "time-limit", "worker-lost"

#: What a task notes on an exception (`add_note`) that it would have retried, had a retry been left.
NO_RETRY_LEFT = "no retry was left"


def reason_of(error: BaseException) -> str | None:
    """Why a task's message would be dead; None for an end that is no failure of the task."""
    match error:
        case Ignore() | Retry() | Terminated():
            return None
        case Reject():
            return REJECTED
        case SoftTimeLimitExceeded():
            return SOFT_LIMIT
        case TimeLimitExceeded():
            return HARD_LIMIT
        case WorkerLostError() | SystemExit() | KeyboardInterrupt():
            return WORKER_LOST
        case MaxRetriesExceededError():
            return EXHAUSTED
        case _:
            return EXHAUSTED if NO_RETRY_LEFT in getattr(error, "__notes__", ()) else FAILED


class Request(CeleryRequest):
    """Buries the message where Celery would acknowledge or drop it because its task failed."""

    # Not in the stubs.
    _message: Any
    _on_reject: Callable[..., Any]
    _connection_errors: Any
    _already_revoked: bool
    _context: Any
    task: Any
    name: str

    #: While a failure is handled: reason and cause as the dead list's word.
    _verdict: str | None = None
    #: What was acknowledged before its task ran.
    _given_up: Delivery | None = None

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """The task raised, or its process is gone."""
        error = exc_info.exception
        # From a pool process it comes inside another, which carries the traceback.
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        self._judge(error, str(exc_info.traceback))
        if isinstance(error, MemoryError):
            # Celery would end the whole worker, the next one would get the task, and so on: an endless loop.
            exc_info.exception = RuntimeError(repr(error))
        try:
            return super().on_failure(exc_info, send_failed_event, return_ok)
        finally:
            self._close()

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A time limit is over; with the hard one the process is killed."""
        if not soft:
            self._judge(TimeLimitExceeded(timeout), "")
        try:
            super().on_timeout(soft, timeout)
        finally:
            self._close()

    def _judge(self, error: BaseException, traceback: str) -> None:
        reason = reason_of(error)
        # Whoever ended the task asked for that; on another transport everything is Celery's.
        if reason is not None and not self._already_revoked and hasattr(self._message.channel, "retire"):
            self._verdict = word(reason, Cause(repr(error), traceback, str(self.hostname)))

    def _close(self) -> None:
        verdict, self._verdict = self._verdict, None
        delivery, self._given_up = self._given_up, None
        if verdict is not None and delivery is not None:
            session = self._message.channel.session
            # Left to the lease thread: this may be any thread, and the cluster may be away.
            session.line(delivery.queue).postponed.append(partial(report, delivery=delivery, reason=verdict))
            session.pump.nudge()

    def acknowledge(self) -> None:
        """The message is not needed any more, or its task failed."""
        if self.acknowledged:
            return
        if self._verdict is None:
            if not self.task.acks_late and hasattr(self._message.channel, "session"):
                self._given_up = self._message.channel.session.held.get(str(self._message.delivery_tag))
            super().acknowledge()
        else:
            # As `reject` does, without telling the world that it was rejected.
            self._name(self._verdict)
            self._on_reject(logger, self._connection_errors, False)
            self.acknowledged = True

    def reject(self, requeue: bool = False) -> None:
        """The message goes back, or is dead."""
        if not (requeue or self.acknowledged or self._verdict is None):
            self._name(self._verdict)
        super().reject(requeue)

    def _name(self, verdict: str) -> None:
        # What Celery calls at last, in the thread that may talk to the channel.
        message = self._message
        message.reject = lambda **_: message.channel.retire(message, verdict)

    def _success_was_stored(self) -> Any:
        meta = super()._success_was_stored()  # type: ignore[misc] # not in the stubs
        if not meta or not self._counted(meta["result"]):
            return False
        self._verdict = None
        return meta

    def _counted(self, result: Any) -> bool:
        """Count a part of a chord whose process died between storing the result and counting it; False if it cannot be.

        Celery would acknowledge it, and the chord would wait for it for ever. Parts are counted once, however often.
        """
        if not self._context.chord:
            return True
        try:
            self.task.backend.on_chord_part_return(self._context, states.SUCCESS, result)
        except Exception as error:  # noqa: BLE001  whatever it is, the part must not be gone
            logger.warning("task %s[%s] succeeded, but its chord does not count it: %s", self.name, self.id, error)
            return False
        return True

    def _retry_worker_lost(self, exc: Any, exc_info: Any) -> bool:
        verdict, self._verdict = self._verdict, None
        sent = bool(super()._retry_worker_lost(exc, exc_info))  # type: ignore[misc] # not in the stubs
        if not sent:
            self._verdict = verdict
        return sent
