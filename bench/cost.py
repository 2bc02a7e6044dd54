"""What messages and results cost the servers: processor time."""

from __future__ import annotations

from uuid import uuid4

from celery import states

from bench.app import make_app, settings
from bench.sides import Side
from bench.throughput import drain, fill, queue_of


def cost(side: Side) -> dict[str, list[float]]:
    """Microseconds of the primaries' processors for a message and for a result."""
    return {"cpu": [_message(side)], "cpu-result": [_result(side)]}


def _message(side: Side, number: int = 3000) -> float:
    """From publish to ack with prefetch 1, the dear case: nothing is leased or acknowledged together."""
    with queue_of(side) as (connection, queue, producer):
        before = side.cpu_seconds()
        fill(producer, queue, number)
        drain(connection, queue, 1, number)
        return (side.cpu_seconds() - before) / number * 1e6


def _result(side: Side, number: int = 2000) -> float:
    """Stored and announced; nobody waits for it."""
    app = make_app(settings(side.url, side.backend, side.options, side.backend_options))
    app.backend.store_result(str(uuid4()), None, states.SUCCESS)
    before = side.cpu_seconds()
    for _ in range(number):
        app.backend.store_result(str(uuid4()), None, states.SUCCESS)
    taken = side.cpu_seconds() - before
    app.close()
    side.clear()
    return taken / number * 1e6
