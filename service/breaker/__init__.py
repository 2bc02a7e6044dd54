"""A circuit breaker for calls to the outside, whose state the whole fleet shares: see `service.breaker.guard`."""

from service.breaker.guard import guarded
from service.breaker.shared import BreakerOpenError

__all__ = ["BreakerOpenError", "guarded"]
