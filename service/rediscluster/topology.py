"""Which primary serves which slots, compared and put into words: pure functions without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from redis.crc import key_slot

#: Hash slots of a cluster.
SLOTS = 16384
Address = tuple[str, int]
#: First and last slot.
Span = tuple[int, int]
#: First and last slot of a range and its primary.
SlotRange = tuple[int, int, Address]

#: Ranges of slots, and moves, that a text names at most.
NAMED = 4


def name(address: Address) -> str:
    """`host:port`."""
    return f"{address[0]}:{address[1]}"


@lru_cache(maxsize=8192)
def slot_of(key: str) -> int:
    """The slot of a key."""
    return int(key_slot(key.encode()))


def primary_of(slot: int, ranges: Sequence[SlotRange]) -> Address | None:
    """Who serves a slot; None for nobody."""
    for first, last, address in ranges:
        if first <= slot <= last:
            return address
    return None


def spans_of(address: Address, ranges: Sequence[SlotRange]) -> tuple[Span, ...]:
    """The slots that a primary serves."""
    return tuple((first, last) for first, last, primary in ranges if primary == address)


def slots_named(spans: Sequence[Span]) -> str:
    """Slots in words: `slots 0-5460, 7000`."""
    named = [str(first) if first == last else f"{first}-{last}" for first, last in spans[:NAMED]]
    more = f" and {len(spans) - NAMED} more ranges" if len(spans) > NAMED else ""
    return f"slot{'' if named == [str(spans[0][0])] else 's'} {', '.join(named)}{more}"


def changes(old: Sequence[SlotRange], new: Sequence[SlotRange]) -> list[str]:
    """What moved from where to where, one text for each pair of primaries: `slots 0-5460: a:6379 -> b:6379`."""
    edges = {first for first, _, _ in (*old, *new)} | {last + 1 for _, last, _ in (*old, *new)}
    moved: dict[tuple[Address | None, Address | None], list[Span]] = {}
    for first, behind in zip(ordered := sorted(edges), ordered[1:], strict=False):
        pair = (primary_of(first, old), primary_of(first, new))
        if pair[0] == pair[1]:
            continue
        spans = moved.setdefault(pair, [])
        if spans and spans[-1][1] == first - 1:
            spans[-1] = (spans[-1][0], behind - 1)
        else:
            spans.append((first, behind - 1))
    return [
        f"{slots_named(spans)}: {name(source) if source else 'nobody'} -> {name(target) if target else 'nobody'}"
        for (source, target), spans in moved.items()
    ]
