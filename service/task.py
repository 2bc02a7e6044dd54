"""The base of the fleet's tasks: what Celery leaves open, decided once, by Celery's own options where it has them.

| option | here | meaning |
|---|---|---|
| `autoretry_for` | none | exceptions after which the task is tried again |
| `dont_autoretry_for` | `NEVER_RETRIED` | exceptions after which it is not, whatever `autoretry_for` includes |
| `max_retries` | 3 | how often |
| `default_retry_delay` | 60 s | before the first retry; doubled for each further one, +-20 % |
| `retry_backoff_max` | 600 s | the longest delay before jitter |
| `soft_time_limit`, `time_limit` | the worker's | seconds |
| `result_expires` | the app's | seconds for which this task's result is kept |
| `once` | no | complete once, however often it is delivered |

A task that fails for good ends on its queue's dead list with its reason: docs/dead-letters.md.
"""

from __future__ import annotations

import logging
import random
from typing import Any, ClassVar, Final, NoReturn

from celery.exceptions import MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from service.rediscluster import once
from service.rediscluster.failures import NO_RETRY_LEFT

_LOG = logging.getLogger(__name__)

#: Why a message could not be sent that could be sent later: the broker is away or full.
_AWAY: Final = (OperationalError, RedisError, OSError)

#: No waiting cures a wrong program, and who ran into its limit once would spend the whole limit again.
NEVER_RETRIED: Final = (
    ImportError,
    NameError,
    NotImplementedError,
    SyntaxError,
    TypeError,
    SoftTimeLimitExceeded,
)

#: A delay is multiplied by a random number between these.
JITTER: Final = (0.8, 1.2)


class Task(once.Task):
    """A task of the fleet.

    Attributes:
        result_expires: Seconds for which the task's result is kept, or None for as long as the app says.
    """

    Request = "service.task_request:Request"

    max_retries = 3
    default_retry_delay = 60
    retry_backoff_max: ClassVar[int] = 600
    autoretry_for: ClassVar[tuple[type[Exception], ...]] = ()
    dont_autoretry_for: ClassVar[tuple[type[Exception], ...]] = NEVER_RETRIED
    result_expires: ClassVar[int | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What a task names to be retried is retried, even if it is one of `NEVER_RETRIED`."""
        super().__init_subclass__(**kwargs)
        if "dont_autoretry_for" not in vars(cls):
            inherited = cls.dont_autoretry_for
            cls.dont_autoretry_for = tuple(error for error in inherited if error not in cls.autoretry_for)

    def retry_delay(self) -> float:
        """Seconds until the next retry of the running task, with jitter."""
        delay = min(self.default_retry_delay * 2.0**self.request.retries, self.retry_backoff_max)
        return delay * random.uniform(*JITTER)

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: Exception | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """As Celery's; without `countdown` and `eta` after a delay that doubles.

        Raises:
            celery.exceptions.Retry: The task will run again.
            celery.exceptions.Reject: The retry could not be sent, the broker is away or full: the message goes back.
            Exception: No retry was left: what was given as `exc`, or MaxRetriesExceededError. Or what is wrong with a
                retry that could never be sent.
        """
        if not eta and countdown is None:
            countdown = self.retry_delay()
        try:
            return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
        except Retry:
            raise
        except Reject as unsent:
            self._go_back(unsent.reason, exc)  # type: ignore[attr-defined] # not in the stubs
        except Exception as error:
            if isinstance(error, MaxRetriesExceededError) and exc is None:
                # Celery's text quotes the arguments, and it is logged.
                error.args = (f"{self.name}[{self.request.id}] has no retry left",)
            if self.request.retries:
                error.add_note(NO_RETRY_LEFT)
            raise

    def _go_back(self, problem: Any, cause: Exception | None) -> NoReturn:
        """Celery could not send a retry and would drop the task."""
        if not isinstance(problem, _AWAY):
            raise problem from cause
        _LOG.warning(
            "task %s[%s] goes back, its retry could not be sent, or nobody knows: %s. It was to be retried after %r",
            *(self.name, self.request.id, problem, cause),
        )
        raise Reject(f"its retry could not be sent: {problem}", requeue=True) from problem
