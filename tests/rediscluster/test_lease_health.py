"""What health checks are told of this process's leases."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from kombu import Connection, Producer, Queue

from service.rediscluster import LeaseHealth, lease_health
from service.rediscluster.session import sessions
from tests.rediscluster.faultkit import eventually


def test_the_health_of_leases_says_who_holds_what_and_when_the_cluster_answered(connection: Connection) -> None:
    channel: Any = connection.default_channel
    queue = Queue(f"health-{uuid4().hex}")(channel)
    queue.declare()

    def health() -> LeaseHealth:
        """Of this connection's session: other tests have sessions too."""
        return next(one for session, one in zip(sessions(), lease_health(), strict=True) if session is channel.session)

    Producer(channel, routing_key=queue.name).publish(1)
    before = time.monotonic()
    message = queue.get()
    assert message is not None
    eventually(lambda: health().renewal_due is not None, "the lease thread has begun")
    found = health()
    assert (found.held, found.thread_alive, found.failing_since, found.asking) == (1, True, None, True)
    assert found.answered_at > before
    message.ack()
    eventually(lambda: health().held == 0, "nothing is held any more")
