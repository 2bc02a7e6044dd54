"""Guarded calls in tasks: one that meets an open breaker returns later, without using up a retry."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from celery import current_app
from celery._state import get_current_task
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded

from service.breaker.call import call
from service.breaker.shared import BreakerOpenError, breakers_of

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: The waiting is multiplied by a random number between these, so that not all come back at once.
JITTER: Final = (1.0, 1.25)
#: Seconds that it takes at least.
SHORTEST: Final = 0.5


def guarded(
    name: str,
    failures: tuple[type[Exception], ...],
    function: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call the outside from a task; on a broker that is no cluster, as in unit tests, the call is made unguarded.

    Args:
        name: The breaker's name: the service that is called, never something a user chose.
        failures: Exceptions that mean that the outside is in trouble, as the task's soft limit does; after any other
            end it counts as having answered.
        function: What is called.
        *args: Its arguments.
        **kwargs: Its arguments.

    Raises:
        celery.exceptions.Retry: The breaker is open; the task has been sent again, for later.
        BreakerOpenError: The breaker is open, and there is no message to send again: the task was called as a function.
        Exception: What the function raised.
    """
    task = get_current_task()
    breakers = breakers_of((task.app if task else current_app).conf)
    if breakers is None:
        return function(*args, **kwargs)
    try:
        return call(breakers, name, (*failures, SoftTimeLimitExceeded), function, *args, **kwargs)
    except BreakerOpenError as error:
        if task is None or task.request.called_directly or task.request.is_eager:
            raise
        come_back(task, error)


def come_back(task: Any, reason: BreakerOpenError) -> NoReturn:
    """Send the running task again for later, as the attempt that it is.

    Raises:
        celery.exceptions.Retry: It was sent.
        celery.exceptions.Reject: It could not be sent: its message goes back.
    """
    seconds = max(reason.seconds, SHORTEST) * random.uniform(*JITTER)
    request = task.request
    again = task.signature_from_request(request, countdown=seconds, retries=request.retries)
    try:
        again.apply_async()
    except Exception as error:
        raise Reject(f"{reason}, and it could not be sent again: {error}", requeue=True) from error
    _LOG.info("task %s[%s] returns in %.0f s: %s", task.name, request.id, seconds, reason)
    raise Retry(str(reason), reason, when=datetime.now(UTC) + timedelta(seconds=seconds))
