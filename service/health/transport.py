"""What is known of this process's leases, as one answer for all its clusters."""

from __future__ import annotations

import time

from service.health.judge import LeaseSigns
from service.rediscluster import LeaseHealth, lease_health, transport_stats


def lease_signs() -> LeaseSigns:
    """How the lease threads of this process are; costs no I/O and takes no lock."""
    now = time.monotonic()
    signs = [_signs(one, now) for one in lease_health()]
    return LeaseSigns(
        dead=any(one.dead for one in signs),
        overdue=max((one.overdue for one in signs), default=0.0),
        lease=max((one.lease for one in signs), default=60.0),
        failing=max((one.failing for one in signs), default=0.0),
        silent=max((one.silent for one in signs), default=0.0),
        shards_down=transport_stats().shards_down,
    )


def _signs(one: LeaseHealth, now: float) -> LeaseSigns:
    return LeaseSigns(
        dead=bool(one.held) and not one.thread_alive,
        overdue=max(0.0, now - one.renewal_due) if one.thread_alive and one.renewal_due else 0.0,
        lease=one.lease,
        failing=now - one.failing_since if one.failing_since else 0.0,
        # A worker that is busy asks only to prolong its leases.
        silent=max(0.0, now - one.answered_at - one.lease / 3) if one.asking else 0.0,
    )
