"""What stands in the old broker, and what may be moved where: decided before anything is moved. Pure, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .stock import Binding, Layout, not_a_task_queue


@dataclass(frozen=True)
class Held:
    """A message that a worker of the old broker holds, or held when it died.

    Attributes:
        tag: Its delivery tag.
        since: Unix time in seconds when it was fetched; None when the index lacks it.
        queues: The queues it may have come from.
        problem: Why that is not known; empty when there is one queue.
        unreadable: Nobody can ever run it, whatever its queue was.
    """

    tag: str
    since: float | None
    queues: tuple[str, ...]
    problem: str = ""
    unreadable: bool = False


@dataclass(frozen=True)
class Inventory:
    """The old broker at one moment.

    Attributes:
        lists: Length of every list, by name without the global prefix.
        like_messages: Those of them whose oldest entry looks like a message.
        bindings: The table of each exchange.
        held: What workers hold.
        taken: How many messages a bridge has taken and not settled.
        unreadable: How many it has put aside.
    """

    lists: Mapping[str, int] = field(default_factory=dict)
    like_messages: Collection[str] = ()
    bindings: Mapping[str, tuple[Binding, ...]] = field(default_factory=dict)
    held: tuple[Held, ...] = ()
    taken: int = 0
    unreadable: int = 0

    def exchanges_of(self) -> dict[str, set[str]]:
        """The exchanges that each bound queue is bound to."""
        found: dict[str, set[str]] = {}
        for exchange, table in self.bindings.items():
            for _, _, queue in table:
                found.setdefault(queue, set()).add(exchange)
        return found


@dataclass(frozen=True)
class Wishes:
    """What the operator asked for.

    Attributes:
        known: The queues of the fleet.
        renamed: Old queue to new one.
        left: Patterns of old queues that stay where they are.
    """

    known: Collection[str]
    renamed: Mapping[str, str] = field(default_factory=dict)
    left: Collection[str] = ()

    def target(self, queue: str) -> str | None:
        """The fleet's queue for an old one, or None."""
        return self.renamed.get(queue) or (queue if queue in self.known else None)

    def leaves(self, queue: str) -> bool:
        """Whether it stays by request."""
        return any(fnmatchcase(queue, pattern) for pattern in self.left)


@dataclass
class QueueState:
    """A task queue of the old broker.

    Attributes:
        to: The fleet's queue; None: there is none.
        ready: Messages by priority step.
        held: When each message that a worker holds was fetched, Unix time in seconds or None.
    """

    to: str | None
    ready: dict[int, int] = field(default_factory=dict)
    held: list[float | None] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All of its messages."""
        return sum(self.ready.values()) + len(self.held)


@dataclass(frozen=True)
class Survey:
    """What the bridge makes of an inventory.

    Attributes:
        queues: Task queues by name.
        kept: Messages that stay, by queue and reason.
        doubtful: Why messages that workers hold cannot be moved, with their number.
        refusals: Sentences: why nothing may be moved yet.
        taken: Messages that a bridge has taken and not settled.
        unreadable: Messages that it has put aside.
    """

    queues: Mapping[str, QueueState]
    kept: Mapping[tuple[str, str], int]
    doubtful: Mapping[str, int]
    refusals: tuple[str, ...]
    taken: int = 0
    unreadable: int = 0

    @property
    def routes(self) -> dict[str, str]:
        """The fleet's queue for every old one that is moved."""
        return {queue: state.to for queue, state in self.queues.items() if state.to}

    @property
    def left(self) -> int:
        """Messages that should have been moved and are still there."""
        return sum(state.count for state in self.queues.values()) + sum(self.doubtful.values()) + self.taken


def survey(inventory: Inventory, layout: Layout, wishes: Wishes) -> Survey:
    """Decide what is moved where.

    Args:
        inventory: What is there.
        layout: Where kombu puts things.
        wishes: What the operator asked for.
    """
    sorting = _Sorting(inventory.exchanges_of(), wishes)
    sorting.add_lists(inventory, layout)
    sorting.add_held(inventory.held)
    queues = dict(sorted(sorting.queues.items()))
    homeless = [_homeless(name, state, wishes) for name, state in queues.items() if state.count and not state.to]
    return Survey(
        queues=queues,
        kept={key: count for key, count in sorting.kept.items() if count},
        doubtful=sorting.doubtful,
        refusals=(*sorting.wrong_steps, *homeless),
        taken=inventory.taken,
        unreadable=inventory.unreadable,
    )


class _Sorting:
    """Sorts what was found into queues."""

    def __init__(self, exchanges: Mapping[str, Collection[str]], wishes: Wishes) -> None:
        self._exchanges, self._wishes = exchanges, wishes
        wanted = [name for name in (*wishes.known, *wishes.renamed) if not wishes.leaves(name)]
        self.queues = {name: QueueState(wishes.target(name)) for name in wanted}
        self.kept: Counter[tuple[str, str]] = Counter()
        self.doubtful: Counter[str] = Counter()
        self.wrong_steps: list[str] = []
        for queue in exchanges:
            self._place(queue, 0)

    def _place(self, queue: str, count: int) -> QueueState | None:
        """The task queue of this name, or None if its messages stay."""
        reason = not_a_task_queue(queue, self._exchanges.get(queue, ()))
        if reason is None and self._wishes.leaves(queue):
            reason = "by request"
        if reason is not None:
            self.kept[queue, reason] += count
            return None
        return self.queues.setdefault(queue, QueueState(self._wishes.target(queue)))

    def add_lists(self, inventory: Inventory, layout: Layout) -> None:
        for name, length in inventory.lists.items():
            queue, step = layout.split(name)
            # Others have lists too.
            if queue in self.queues or queue in self._exchanges or name in inventory.like_messages:
                state = self._place(queue, length)
                if state is not None:
                    state.ready[step] = length
                    if step not in layout.steps:
                        self.wrong_steps.append(_wrong_step(name, step, length, layout))

    def add_held(self, messages_held: Collection[Held]) -> None:
        for held in messages_held:
            if held.problem:
                self.doubtful[held.problem] += 1
            elif (state := self._place(held.queues[0], 1)) is not None:
                state.held.append(held.since)


def _wrong_step(name: str, step: int, length: int, layout: Layout) -> str:
    steps = ",".join(map(str, layout.steps))
    return (
        f"list {name!r}: {messages(length)} of priority step {step}, which is not among {steps}; "
        f"pass the old option priority_steps as --priority-steps"
    )


def _homeless(name: str, state: QueueState, wishes: Wishes) -> str:
    return (
        f"queue {name!r}: {messages(state.count)}, and the fleet has no such queue; pass --queue {name}=NEW "
        f"with one of {', '.join(wishes.known)}, or --leave {name}"
    )


def messages(count: int) -> str:
    """`1 message`, `2 messages`."""
    return f"{count} message{'' if count == 1 else 's'}"
