"""How the leases of this process are, for health checks: no I/O, and no lock that somebody may hold for long."""

from __future__ import annotations

from dataclasses import dataclass

from .session import sessions


@dataclass(frozen=True)
class LeaseHealth:
    """One session. Moments are on the monotonic clock, in seconds.

    Attributes:
        held: Messages that the process holds.
        thread_alive: Whether the lease thread runs.
        renewal_due: When the next round of renewals is due; None before the first.
        failing_since: Since when leases of a queue could not be renewed; None when all could.
        asking: Whether there is something to ask the cluster for: messages, or to prolong leases.
        answered_at: When the cluster last answered.
        lease: How long a lease holds, in seconds.
    """

    held: int
    thread_alive: bool
    renewal_due: float | None
    failing_since: float | None
    asking: bool
    answered_at: float
    lease: float


def lease_health() -> tuple[LeaseHealth, ...]:
    """One for each cluster that this process works with."""
    return tuple(
        LeaseHealth(
            held=len(session.held),
            thread_alive=session.pump.running,
            renewal_due=session.pump.renewal_due,
            failing_since=session.failing_since,
            asking=bool(session.held) or session.pump.watching,
            answered_at=session.answered_at,
            lease=session.options.lease,
        )
        for session in sessions()
    )
