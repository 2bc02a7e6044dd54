"""The table of queues that a process works with: FLEET_QUEUE_TABLE, or `service.fleet`'s."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from service import fleet

_BUILT_IN = {queue.name: queue for queue in fleet.ALL_QUEUES}
#: Queues without which nothing works: where everything else goes, and where the dead go.
_NEEDED = (fleet.DEFAULT_QUEUE, fleet.DEAD_LETTER_QUEUE.name)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    priority: int = Field(ge=0, le=fleet.MAX_PRIORITY)
    partitions: int = Field(1, ge=1, le=fleet.MAX_PARTITIONS)


_ROWS: TypeAdapter[dict[str, _Row]] = TypeAdapter(dict[str, _Row])


def parse(text: str) -> tuple[fleet.Queue, ...]:
    """Read a table as `fleet.queue_table` writes it.

    Returns:
        The queues, highest priority first: the order in which a worker of several looks at them.

    Raises:
        ValueError: It is no such table; says what is wrong with it.
    """
    try:
        rows = _ROWS.validate_json(text)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, detail['loc'])) or 'the table'}: {detail['msg']}" for detail in error.errors())
        raise ValueError(f"expected JSON such as {fleet.queue_table(fleet.QUEUES[:1])}; {'; '.join(wrong)}") from None
    missing = [name for name in _NEEDED if name not in rows]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be among the queues")
    queues = (
        replace(_BUILT_IN.get(name, fleet.Queue(name, row.priority)), priority=row.priority, partitions=row.partitions)
        for name, row in rows.items()
    )
    return tuple(sorted(queues, key=lambda queue: -queue.priority))
