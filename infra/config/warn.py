"""What is allowed and yet worth a sentence at every `pulumi up`."""

from __future__ import annotations

from typing import Final

from infra.config.model import Fleet
from service.fleet import KEPT_LIMITS

#: Processes of a prefork worker for each vCPU, above which they mostly wait for each other.
_CROWDED: Final = 16


def warnings(fleet: Fleet) -> list[str]:
    """Return one sentence for each, with its path."""
    found = []
    for name, queue in fleet.queues.items():
        if "time_limit" not in KEPT_LIMITS[queue.pool]:
            found.append(
                f"queues.{name}.pool: {queue.pool} ends no task, however long it takes: bound every wait in the tasks"
            )
        if queue.pool == "prefork" and queue.concurrency * 1024 > _CROWDED * queue.cpu:
            found.append(
                f"queues.{name}.concurrency: {queue.concurrency} processes share cpu {queue.cpu}, "
                f"{queue.cpu / 1024:g} vCPU; more than {max(1, _CROWDED * queue.cpu // 1024)} are slow to start and "
                "in each other's way; take gevent for what waits, or more cpu"
            )
    return found
