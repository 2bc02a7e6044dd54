"""One guarded call: pybreaker decides, on the state that the fleet shares.

pybreaker's breaker holds a lock while its call runs and reads and writes its state in several steps. So each call
gets a breaker of its own, which costs microseconds, and a storage that asks the cluster once before the call and
tells it once after.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, ParamSpec, TypeVar

import pybreaker
from redis import exceptions

from service.breaker.shared import BreakerOpenError, Breakers, Seen
from service.rediscluster.errors import ConfigurationError

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: The store is away, whatever the reason.
AWAY: Final = (exceptions.RedisError, OSError, ConfigurationError)
#: Seconds for which nobody asks a store that did not answer: each call would wait for it.
LEAVE_ALONE: Final = 5.0


class _Away:
    """Whether this process leaves the store alone."""

    until = 0.0
    lock = threading.Lock()

    @classmethod
    def note(cls, name: str, error: Exception) -> None:
        with cls.lock:
            told = time.monotonic() < cls.until
            cls.until = time.monotonic() + LEAVE_ALONE
        if not told:
            _LOG.warning("breaker %s: its state cannot be reached, calls are made unguarded: %s", name, error)


class CallStorage(pybreaker.CircuitBreakerStorage):
    """The shared state as one call sees it."""

    def __init__(self, breakers: Breakers, name: str, seen: Seen) -> None:
        """Take what entering returned."""
        super().__init__(name)
        self._breakers, self._name, self._seen = breakers, name, seen
        self._state = pybreaker.STATE_CLOSED if seen.state == "closed" else pybreaker.STATE_OPEN
        self._counter, self._successes = seen.failures, 0
        self._told = False
        #: Whether the end of the call changed the state that all share.
        self.counted = True

    @property
    def state(self) -> str:
        """The state in pybreaker's words; a probe meets an open breaker whose time is over."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        # In the cluster it changes in one step with what caused it.
        self._state = state

    @property
    def opened_at(self) -> datetime | None:
        """None lets pybreaker probe; anything else is not long enough ago."""
        return None if self._seen.state == "probe" else datetime.now(UTC)

    @opened_at.setter
    def opened_at(self, moment: datetime) -> None:
        """The server's clock decides."""

    @property
    def counter(self) -> int:
        """Failures in a row, fleet-wide."""
        return self._counter

    def increment_counter(self) -> None:
        """The call failed."""
        after = self._tell(self._breakers.failed)
        # It opens here if it opened there, and by this call.
        self._counter = self._breakers.rules.failures if after is not None and after.state == "open" else 0

    def reset_counter(self) -> None:
        """The call succeeded; that is news only where something had failed."""
        if self._seen.failures or self._seen.state == "probe":
            self._tell(self._breakers.succeeded)

    def forget(self) -> None:
        """The call was broken off: its end says nothing about the outside."""
        self._told, self.counted = True, False

    def _tell(self, step: Callable[[str, int], Seen]) -> Seen | None:
        if self._told:
            return None
        self._told = True
        try:
            after = step(self._name, self._seen.since)
        except AWAY as error:
            _Away.note(self._name, error)
            self.counted = False
            return None
        self.counted = after.state != "changed"
        return after

    @property
    def success_counter(self) -> int:
        """Successes of this probe."""
        return self._successes

    def increment_success_counter(self) -> None:
        """The probe succeeded."""
        self._successes += 1

    def reset_success_counter(self) -> None:
        """As pybreaker wants it at each change."""
        self._successes = 0


class _Teller(pybreaker.CircuitBreakerListener):
    """Says each change once, in the process that made it."""

    def __init__(self, storage: CallStorage, seconds: float) -> None:
        self._storage, self._seconds, self._error = storage, seconds, ""

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        # The text of an error may hold addresses with passwords.
        self._error = type(exc).__name__

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        if not self._storage.counted:
            return
        what: dict[str, Any] = {"breaker": self._storage.name, "state": new_state.name}
        if new_state.name == pybreaker.STATE_OPEN:
            text = "breaker %s: open for %g s, the last call failed with %s"
            _LOG.warning(text, cb.name, self._seconds, self._error, extra=what)
        elif new_state.name == pybreaker.STATE_HALF_OPEN:
            _LOG.info("breaker %s: half-open, this call tries", cb.name, extra=what)
        else:
            _LOG.info("breaker %s: closed, the call succeeded", cb.name, extra=what)


def call(
    breakers: Breakers,
    name: str,
    failures: tuple[type[Exception], ...],
    function: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call a function if its breaker lets it.

    Args:
        breakers: Where its state is.
        name: The breaker's name: the service that is called.
        failures: Exceptions that mean that the outside is in trouble; any other end means that it answered.
        function: What is called.
        *args: Its arguments.
        **kwargs: Its arguments.

    Raises:
        BreakerOpenError: It was not called.
        Exception: What the function raised.
    """
    if time.monotonic() < _Away.until:
        return function(*args, **kwargs)
    try:
        seen = breakers.enter(name)
    except AWAY as error:
        _Away.note(name, error)
        return function(*args, **kwargs)
    if seen.state not in ("closed", "probe"):
        raise BreakerOpenError(name, seen.seconds)
    storage = CallStorage(breakers, name, seen)

    def run() -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if not isinstance(error, Exception):
                storage.forget()
            raise

    breaker = pybreaker.CircuitBreaker(
        fail_max=breakers.rules.failures,
        reset_timeout=breakers.rules.seconds,
        exclude=[lambda error: not isinstance(error, failures)],
        listeners=[_Teller(storage, breakers.rules.seconds)],
        state_storage=storage,
        name=name,
        # The caller's own error says more than that the breaker opened.
        throw_new_error_on_trip=False,
    )
    return breaker.call(run)
