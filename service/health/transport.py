"""What is known of this process's leases: the one place that looks into the transport's sessions."""

from __future__ import annotations

import time

from service.health.judge import LeaseSigns
from service.rediscluster import session as sessions
from service.rediscluster import transport_stats


def lease_signs() -> LeaseSigns:
    """How the lease threads of this process are; costs no I/O and takes no lock."""
    now = time.monotonic()
    signs = [_signs(session, now) for session in list(sessions._sessions.values())]
    return LeaseSigns(
        dead=any(one.dead for one in signs),
        overdue=max((one.overdue for one in signs), default=0.0),
        lease=max((one.lease for one in signs), default=60.0),
        failing=max((one.failing for one in signs), default=0.0),
        shards_down=transport_stats().shards_down,
    )


def _signs(session: sessions.Session, now: float) -> LeaseSigns:
    pump = session.pump
    running = pump._running
    return LeaseSigns(
        dead=bool(session.held) and not running,
        # Its next renewal is due by then; before the first one there is none.
        overdue=max(0.0, now - pump._renew_at) if running and pump._renew_at else 0.0,
        lease=session.options.lease,
        failing=max((now - since for since in list(session._silent.values())), default=0.0),
    )
