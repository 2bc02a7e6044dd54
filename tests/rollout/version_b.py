"""What the new version has and the old one does not know: one more task for each queue."""

from __future__ import annotations

from celery import shared_task

from service import fleet

#: By queue: its short name in the path leads there.
NAMES = {queue.name: f"shop.{queue.name.removesuffix('_queue')}.greet" for queue in fleet.QUEUES}


def greet(number: int) -> str:
    """The new task."""
    return f"hello {number}"


for _name in NAMES.values():
    shared_task(name=_name, ignore_result=False)(greet)
