"""Moving a slot, in one go or step by step so that tests can stop half-way."""

from __future__ import annotations

from collections.abc import Iterable

from scripts.localcluster.config import ADMIN
from scripts.localcluster.node import Node
from scripts.localcluster.ports import HOST

_BATCH = 100
_TIMEOUT_MS = 20_000


def open_slot(slot: int, source: Node, target: Node) -> None:
    """Mark a slot as moving; from now on missing keys are redirected with ASK."""
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)


def move_keys(slot: int, source: Node, target: Node, admin_password: str, limit: int | None = None) -> int:
    """Move keys of an open slot.

    Args:
        slot: The slot.
        source: Who has it.
        target: Who gets it.
        admin_password: Of the administrator on the target.
        limit: At most so many keys; None moves all.

    Returns:
        How many keys were moved.
    """
    moved = 0
    while limit is None or moved < limit:
        count = _BATCH if limit is None else min(_BATCH, limit - moved)
        keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, count)
        if not keys:
            break
        auth = ("AUTH2", ADMIN, admin_password)
        # Both may have a token that wakes consumers, which scripts make where they run: either will do.
        source.command("MIGRATE", HOST, target.port, "", 0, _TIMEOUT_MS, "REPLACE", *auth, "KEYS", *keys)
        moved += len(keys)
    return moved


def close_slot(slot: int, target: Node, primaries: Iterable[Node]) -> None:
    """Give an open slot without keys left behind to its new owner.

    Args:
        slot: The slot.
        target: Who gets it.
        primaries: All primaries, to be told.
    """
    # The target first: if the source were told first and this program died, nobody would own the slot.
    for node in (target, *(node for node in primaries if node is not target)):
        node.command("CLUSTER", "SETSLOT", slot, "NODE", target.id)


def abort_slot(slot: int, source: Node, target: Node) -> None:
    """Take the marks of a move back; keys already moved stay on the target."""
    for node in (source, target):
        node.command("CLUSTER", "SETSLOT", slot, "STABLE")


def return_slot(slot: int, source: Node, target: Node, admin_password: str) -> None:
    """Give a move up and carry back what was moved, while no client reaches the two nodes.

    Args:
        slot: The slot.
        source: Who has it and keeps it.
        target: Who was to get it.
        admin_password: Of the administrator on the source.
    """
    source.command("CLUSTER", "SETSLOT", slot, "STABLE")
    # Still importing, the target may send what is not its own; the source takes what is missing again.
    move_keys(slot, target, source, admin_password)
    target.command("CLUSTER", "SETSLOT", slot, "STABLE")
