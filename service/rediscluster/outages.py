"""Shards that do not serve this process: says once that one is lost, and once that it is back."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from redis import exceptions

from .activity import count
from .logs import logger_for
from .options import Options
from .topology import SLOTS, Address, Span, name

logger = logger_for(__name__)

_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)


@dataclass
class _Outage:
    since: float
    spans: Sequence[Span]
    told: bool = False


class Outages:
    """What one cluster does not serve, as this process sees it, whichever of its clients noticed."""

    def __init__(self) -> None:
        #: By what is lost, in words; empty most of the time, which is all that a request that worked looks at.
        self.open: dict[str, _Outage] = {}
        #: When the last one ended of what was lost, on the monotonic clock.
        self._ended: dict[str, float] = {}

    def failed(self, what: str, spans: Sequence[Span], error: Exception, started: float) -> None:
        """A request failed.

        Args:
            what: What was not served, in words.
            spans: The slots that this concerns.
            error: How it failed.
            started: When the request began, on the monotonic clock.
        """
        if started < self._ended.get(what, -math.inf):
            # What was begun in an outage that is over, and failed late.
            return
        refused = isinstance(error, _REFUSED)
        outage = self.open.setdefault(what, _Outage(started, spans))
        # One connection that broke is no outage: the request that was begun after it has to fail as well.
        certain = refused or isinstance(error, exceptions.TimeoutError) or started > outage.since
        if outage.told or not certain:
            return
        outage.told = True
        count("shards_down")
        if refused:
            count("credentials_refused")
            logger.error("%s refuses our credentials: %s", what, error)
        else:
            count("shards_lost")
            logger.warning("%s is lost: %s", what, error)

    def served(self, slot: int, address: Address) -> None:
        """A request for a slot was served by a node."""
        for what, outage in list(self.open.items()):
            if any(first <= slot <= last for first, last in outage.spans):
                self._over(what, f"served by {name(address)}")

    def answered(self, address: Address) -> None:
        """A node told the topology."""
        if EVERYTHING in self.open:
            self._over(EVERYTHING, f"{name(address)} answers")

    def _over(self, what: str, how: str) -> None:
        # Whoever removes it says so.
        outage = self.open.pop(what, None)
        if outage is not None and outage.told:
            self._ended[what] = time.monotonic()
            count("shards_down", -1)
            logger.info("%s is back after %.1f s, %s", what, self._ended[what] - outage.since, how)


#: What is lost when no node answers.
EVERYTHING = "the whole cluster"
ALL_SLOTS: Span = (0, SLOTS - 1)

#: By the cluster's seeds, and by who we are there: credentials of another user say nothing about ours.
_known: dict[tuple[object, ...], Outages] = {}


def outages_of(options: Options) -> Outages:
    """The outages of a cluster, shared by all its clients in this process that log in as the same user."""
    return _known.setdefault((options.seeds, options.username, options.credential_provider), Outages())


def _after_fork() -> None:
    # The child finds out for itself, and its counters begin at zero.
    for outages in _known.values():
        outages.open.clear()


os.register_at_fork(after_in_child=_after_fork)
