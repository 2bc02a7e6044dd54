"""Names for publishes, by which the cluster recognises a repeated one."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

#: The property under which a message has its `Publish` while it may be repeated; never stored.
PUBLISH: Final = "rediscluster_publish"


@dataclass
class Publish:
    """What identifies a publish, however often it is repeated.

    Attributes:
        lane: See `PublishLanes`.
        number: In the lane.
        kept: Whether it is named by who makes it, see `kept.py`; `number` then is above every earlier one of the lane.
        leaves: Whether it goes by the inbox of a queue part, by the part's `meta` key: repeated, it goes the same way.
    """

    lane: str = field(default_factory=lambda: uuid4().hex)
    number: int = 1
    kept: bool = False
    leaves: dict[str, bool] = field(default_factory=dict)


class PublishLanes:
    """Names publishes so that the cluster recognises a repeated one: (lane, number) rises within a lane.

    A lane serves one publish at a time. The lane of a publish whose outcome is unknown is not used for another message,
    so that repeating that publish later is neither taken for a duplicate nor stored twice.
    """

    def __init__(self) -> None:
        self._free: deque[tuple[str, int]] = deque()
        self._pid = os.getpid()

    def take(self) -> Publish:
        """The next number of a lane."""
        if self._pid != os.getpid():
            # Forked: the parent goes on with these lanes.
            self._free, self._pid = deque(), os.getpid()
        try:
            lane, number = self._free.pop()
        except IndexError:
            return Publish()
        return Publish(lane, number + 1)

    def give_back(self, publish: Publish) -> None:
        """The publish is known to be stored: the lane can serve another."""
        if self._pid == os.getpid():
            self._free.append((publish.lane, publish.number))
