"""When a worker asks for protection, and when it gives it up: a pure state machine.

Only a run that has taken a while counts. A short one ends within the grace anyway, so a worker that is busy with short
tasks never asks. A run counts for a limited time, and so does the protection of a worker that is never idle: then it
rests for a minute, in which ECS stops it if it wants to.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

#: Seconds without protection after it has lasted as long as it may.
REST: Final = 60.0
#: Seconds until a refused request is made again: AWS throttles.
RETRY: Final = 30.0
#: How many times `after` nothing counts until protection is given up.
LINGER: Final = 3.0


@dataclass
class Guard:
    """What one worker has been promised.

    All times are seconds of one monotonic clock.

    Attributes:
        minutes: For how long a run counts from its start.
        after: Seconds that a run must have taken to count.
        until: When the protection ends by itself; None without one.
    """

    minutes: int
    after: float
    until: float | None = None
    _since: float = field(default=0.0, init=False)
    _counted_at: float = field(default=0.0, init=False)
    _quiet_until: float = field(default=-math.inf, init=False)
    _worn_out: bool = field(default=False, init=False)

    @property
    def span(self) -> float:
        """`minutes` in seconds."""
        return self.minutes * 60.0

    def look(self, now: float, starts: Collection[float]) -> int | None:
        """Decide what to ask for.

        Args:
            now: The time.
            starts: When the tasks that run now began.

        Returns:
            Minutes of protection, 0 to give it up, None to leave it as it is.
        """
        if self.until is not None and now >= self.until:
            self._over(now)
        long = [start for start in starts if now - start >= self.after]
        counting = [start for start in long if now - start < self.span and self._joins(start)]
        if counting:
            self._counted_at = now
        self._worn_out = bool(long) and not counting
        if now < self._quiet_until:
            return None
        if not counting:
            idle = now - self._counted_at >= LINGER * self.after
            return 0 if self.until is not None and (idle or self._worn_out) else None
        needed = max(counting) + self.span
        # With half of it left there is time; a worker of many tasks asks twice a span.
        if self.until is not None and (self.until >= needed or self.until - now >= self.span / 2):
            return None
        return max(1, min(self.minutes, math.ceil((needed - now) / 60)))

    def granted(self, now: float, minutes: int) -> None:
        """What `look` wanted is so."""
        if not minutes:
            self._over(now)
            return
        if self.until is None:
            self._since = now
        self.until = now + minutes * 60.0

    def refused(self, now: float) -> None:
        """It is not: try again later."""
        self._quiet_until = now + RETRY

    def _joins(self, start: float) -> bool:
        """Whether a run may prolong the protection that there is: not for ever."""
        return self.until is None or start < self._since + self.span

    def _over(self, now: float) -> None:
        self.until = None
        if self._worn_out:
            self._quiet_until = now + REST
