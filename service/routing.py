"""Which queue a task goes to, and with which priority.

One rule, in this order:

1. What the call or the task says: `queue=`, `priority=`.
2. The task's module: the last part of its dotted path that is a queue's short name (`shop.sync.prices.pull` goes to
   `sync_queue`, `shop.data.import_rows` to `data_queue`). The function's own name does not count.
3. Celery's own tasks (`celery.chord_unlock`) are canvas work.
4. Everything else goes to the default queue, also what belongs to a queue that the stack has switched off.

The queues are those of the table that each process is given (FLEET_QUEUE_TABLE). A message gets its queue's priority
unless the call or the task gives another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kombu import Queue

from service import fleet

_CANVAS_QUEUE: Final = "workflow_queue"
#: What a queue's name has behind its short name.
_SUFFIX: Final = "_queue"


class Routing:
    """The rule, for one table of queues."""

    def __init__(self, queues: Iterable[fleet.Queue] = fleet.ALL_QUEUES) -> None:
        """Know these queues."""
        self._queues = {queue.name: queue for queue in queues}
        self._short_names = {name.removesuffix(_SUFFIX): name for name in self._queues}

    def queue_of(self, task_name: str) -> str:
        """The queue that a task's name routes it to.

        Args:
            task_name: Dotted name, such as `service.tasks.sync.fetch_page`.
        """
        *path, _ = task_name.split(".")
        if path[:1] == ["celery"]:
            return _CANVAS_QUEUE if _CANVAS_QUEUE in self._queues else fleet.DEFAULT_QUEUE
        short = self._short_names
        return next((short[part] for part in reversed(path) if part in short), fleet.DEFAULT_QUEUE)

    def route(
        self, name: str, _args: object, _kwargs: object, options: Mapping[str, Any], **_: object
    ) -> dict[str, Any] | None:
        """Celery's router: it only fills in what `options` leaves open."""
        if options.get("exchange") or options.get("routing_key"):
            return None
        chosen = options.get("queue")
        if chosen is None:
            queue = self._queues[self.queue_of(name)]
            return {"queue": queue.name, "priority": queue.priority}
        known = self._queues.get(chosen.name if isinstance(chosen, Queue) else chosen)
        return {"priority": known.priority} if known else None

    def declared_queues(self) -> list[Queue]:
        """Celery's declaration of every queue of the fleet."""
        return [Queue(name, routing_key=name, max_priority=fleet.MAX_PRIORITY) for name in self._queues]
