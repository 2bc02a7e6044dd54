"""What a worker and a message take: connections and bytes."""

from __future__ import annotations

import time
from dataclasses import replace
from uuid import uuid4

from celery import states

from bench.app import make_app, settings
from bench.sides import Side, kept_url
from bench.worker import Inbox, Publisher, worker

#: Messages in the queue, as the target names them, and those whose arguments have 1 kB.
QUEUED, QUEUED_LARGE = 100_000, 20_000
#: Stored results.
RESULTS = 20_000
#: Seconds after which a worker has closed what it needed for its start only.
SETTLE = 50
#: Pool processes of the two workers whose connections are compared.
FEW, MORE = 2, 4


def connections(side: Side) -> dict[str, list[float]]:
    """Connections of a worker that has run tasks with results, and what one more pool process adds."""
    few, more = (_connections(side, processes) for processes in (FEW, MORE))
    return {"connections": [few], "connections-process": [(more - few) / (MORE - FEW)]}


def _connections(side: Side, processes: int) -> float:
    with Inbox() as inbox, Publisher(side) as publisher:
        publisher.fill(100 * processes, every=100 * processes, results=True)
        before = side.connections()
        with worker(side, inbox, processes=processes):
            inbox.read()
            # Both keep what they use, and one of them closes what it does not use any more.
            time.sleep(SETTLE)
            return side.connections() - before


def memory(side: Side) -> dict[str, list[float]]:
    """Bytes that messages and results take on the primaries."""
    # What stock stores does not depend on its client, and this one fills the queue faster.
    quick = replace(side, url=kept_url(side.url))
    return {
        "bytes": [_queued(quick, "", QUEUED)],
        "bytes-1k": [_queued(quick, "x" * 1000, QUEUED_LARGE)],
        "bytes-result": [_results(side)],
    }


def _queued(side: Side, argument: str, number: int) -> float:
    side.clear()
    with Publisher(side) as publisher:
        publisher.send()
        before = side.used_memory()
        for _ in range(number):
            publisher.send(argument)
        taken = side.used_memory() - before
    side.clear()
    return taken / number


def _results(side: Side) -> float:
    app = make_app(settings(side.url, side.backend, side.options, side.backend_options))
    app.backend.store_result(uuid4().hex, None, states.SUCCESS)
    before = side.used_memory()
    for _ in range(RESULTS):
        app.backend.store_result(str(uuid4()), None, states.SUCCESS)
    taken = side.used_memory() - before
    app.close()
    side.clear()
    return taken / RESULTS
