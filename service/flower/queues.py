"""What stands in the cluster's queues, as Flower's page and API want it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from service.rediscluster.stats import QueueStats

_LOG = logging.getLogger(__name__)


class Queues:
    """Stands in the place of Flower's own brokers.

    Every queue of the stack is listed, also one that no living worker serves: that is when somebody looks.
    """

    def __init__(self, read: Callable[[str], QueueStats], names: Sequence[str]) -> None:
        """Set up.

        Args:
            read: Reads one queue; may raise and may take long.
            names: The stack's queues, in the order of the page.
        """
        self._read = read
        self._names = names

    async def queues(self, _active: Iterable[str], /) -> list[dict[str, Any]]:
        """Count what is in each queue; one whose shard does not answer has no numbers.

        Args:
            _active: What living workers serve; not needed.
        """
        # At once: a shard that does not answer delays its own queues only.
        return list(await asyncio.gather(*(asyncio.to_thread(self._row, name) for name in self._names)))

    def _row(self, name: str) -> dict[str, Any]:
        try:
            stats = self._read(name)
        except Exception as error:  # noqa: BLE001  whatever a cluster in trouble raises, the page is shown
            _LOG.warning("queue %s could not be read: %s: %s", name, type(error).__name__, error)
            return {"name": name}
        return {
            "name": name,
            "messages": stats.depth + stats.leased + stats.delayed - stats.due,
            "messages_ready": stats.depth,
            "messages_unacknowledged": stats.leased,
        }
