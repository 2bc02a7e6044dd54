"""Tasks that complete once: `@app.task(once=True)`, for apps made with `Celery(task_cls=Task)`.

A message can be delivered again after its task was done: the worker died before its ack arrived, or was paused for
longer than a lease. Such a task asks the cluster before it runs, and records its return value when it is done, in one
step with a look at its lease. A later delivery then returns the recorded value without running, and of two
runs at the same time one completes; what the other returned is thrown away, and it sends no callback.

Recorded under the task's id, in the slot of the queue part, for `once_window` seconds. What a run does to the world
before it completes is done; docs/guarantees.md says what that means.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import celery
from celery.exceptions import ImproperlyConfigured, Reject
from kombu.serialization import dumps, loads, prepare_accept_content

from .broker import Ack, Broker, NoQueueError
from .errors import is_retryable
from .keys import QueueKeys
from .message_format import held
from .session import Session
from .transport import session_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Marks a request whose task runs.
_ENTERED = "rediscluster_entered"


class Task(celery.Task):  # type: ignore[type-arg] # generic in the stubs only
    """Celery's task with the option `once`.

    Attributes:
        once: Whether the task completes once, however often it is delivered.
    """

    once = False

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Refuse what cannot work.

        Raises:
            ImproperlyConfigured: The task says that it is acknowledged before it runs.
        """
        # Bound again, it has what the app's settings say.
        if cls.once and cls.acks_late is False and not cls.__bound__:
            raise _early(cls)
        return super().bind(app)

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called when the task is bound to an app."""
        super().on_bound(app)
        # Not defined for all: Celery runs tasks that have none faster.
        if cls.once and not hasattr(cls.__call__, "completes_once"):
            cls.__call__ = _once(_call_of(cls))  # type: ignore[method-assign]


def _early(task: Any) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"task {task.name}: once=True needs acks_late=True; acknowledged early, it would be lost with its worker"
    )


def _call_of(cls: Any) -> Callable[..., Any]:
    """How tasks of a class are called: by a method of its own, or by what it inherits."""
    owner = next(base for base in cls.__mro__ if "__call__" in base.__dict__)
    own: Callable[..., Any] = owner.__call__
    # Celery's worker replaces its own later.
    return own if owner is cls else lambda *args, **kwargs: owner.__call__(*args, **kwargs)


def _once(call: Callable[..., Any]) -> Callable[..., Any]:
    def run_once(task: Any, *args: Any, **kwargs: Any) -> Any:
        request = task.request
        # A request whose task was entered is marked: a call from within is an ordinary one.
        if not task.once or request.called_directly or request.is_eager or getattr(request, _ENTERED, False):
            return call(task, *args, **kwargs)
        setattr(request, _ENTERED, True)
        return _run(task, request, partial(call, task, *args, **kwargs))

    setattr(run_once, "completes_once", True)  # noqa: B010  functions have no such attribute, says mypy
    return run_once


def _run(task: Any, request: Any, call: Callable[[], Any]) -> Any:
    if not task.acks_late:
        # The app's setting: other apps of the process, which never run it, may have it.
        raise _early(task)
    delivery = _Held(task)
    for number, callback in enumerate(request.callbacks or ()):
        # Celery names them anew for each delivery: what follows could not be recognised when it is sent again.
        if not callback.get("subtask_type"):
            callback["options"].setdefault("task_id", f"{request.id}.{number}")
    found, value = delivery.before()
    if found:
        logger.info("task %s[%s] had completed before: its result is used again", task.name, request.id)
        return value
    return delivery.complete(call())


class _Held:
    """The message of a running task, and what the cluster knows of the task."""

    def __init__(self, task: Any) -> None:
        self._task = task
        request = task.request
        told = held(request.properties or {})
        if told is None:
            raise ImproperlyConfigured(f"task {task.name}: once=True works on a rediscluster:// broker only")
        queue, part, self._ack = told
        session: Session = session_of(task.app.connection_for_read())
        self._broker: Broker = session.broker
        self._queue: QueueKeys = self._broker.keys(queue, part)

    @property
    def _id(self) -> str:
        return str(self._task.request.id)

    def before(self) -> tuple[bool, Any]:
        """Whether the task is done, and what it returned."""
        state = self._ask(lambda: self._broker.completion(self._queue, self._ack.lease, self._id))
        if not state.held:
            raise self._superseded()
        return (False, None) if state.value is None else (True, self._decode(state.value))

    def complete(self, result: Any) -> Any:
        """Record the result; returns that of the run that completed the task."""
        ack: Ack = self._ack
        state = self._ask(lambda: self._broker.complete(self._queue, ack, self._id, self._encode(result)))
        if not state.held:
            raise self._superseded()
        return result if state.value is None else self._decode(state.value)

    def _ask(self, operation: Callable[[], T]) -> T:
        try:
            try:
                return operation()
            except NoQueueError:
                if self._broker.was_temporary(self._queue):
                    raise self._superseded() from None
                self._broker.declare(self._queue)
                return operation()
        except Exception as error:
            if not is_retryable(error):
                raise
            # Unknown whether it completed: whoever gets the message next finds out.
            raise Reject(f"once: {error}", requeue=True) from error

    def _superseded(self) -> Reject:
        logger.warning("task %s[%s] belongs to another worker now: this run does not count", self._task.name, self._id)
        # Under a lease that is lost, this changes nothing.
        return Reject("once: superseded", requeue=True)

    def _encode(self, result: Any) -> bytes:
        content_type, encoding, body = dumps(result, serializer=self._task.app.conf.result_serializer)
        data: bytes | str = body
        return f"{content_type}\n{encoding}\n".encode() + (data.encode() if isinstance(data, str) else data)

    def _decode(self, value: bytes) -> Any:
        content_type, encoding, body = value.split(b"\n", 2)
        conf = self._task.app.conf
        accept = prepare_accept_content(conf.result_accept_content or conf.accept_content)
        return loads(body, content_type.decode(), encoding.decode(), accept=accept)
