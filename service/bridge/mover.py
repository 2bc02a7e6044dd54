"""The bridge itself: takes a batch, stores it, forgets it, again and again; whatever is killed, the next goes on."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .messages import Arrival, Label, Taken, UnreadableError, translate
from .old import OldBroker
from .stock import Binding
from .survey import Held, Survey, Wishes, survey
from .target import Target

_LOG = logging.getLogger(__name__)

#: Seconds between two looks at everything while following: for queues that are new.
SURVEY_PERIOD = 30.0


class RefusedError(Exception):
    """Nothing was moved, because something stands in the old broker that has no place in the fleet.

    Attributes:
        refusals: A sentence for each.
    """

    def __init__(self, refusals: tuple[str, ...]) -> None:
        super().__init__("\n".join(refusals))
        self.refusals = refusals


@dataclass(frozen=True)
class Rules:
    """How messages are moved.

    Attributes:
        batch: How many are taken at a time.
        priorities: Priorities in the fleet by old step, where they are not the reverse.
        visibility: Seconds after which a message that a worker holds is taken.
        workers_stopped: Whether the operator says that no old worker runs.
        interval: Seconds between two looks at empty queues while following.
    """

    batch: int = 100
    priorities: Mapping[int, int] = field(default_factory=dict)
    visibility: float = 3600.0
    workers_stopped: bool = False
    interval: float = 0.5


@dataclass
class Tally:
    """What was done.

    Attributes:
        moved: Messages by old queue, new queue and old step.
        held: How many of them a worker had held.
        repeated: How many of them an earlier bridge had stored already.
        grouped: How many of them belong to a group.
        unreadable: Why messages were put aside, with their number.
    """

    moved: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    held: int = 0
    repeated: int = 0
    grouped: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Everything that was settled."""
        return sum(self.moved.values()) + sum(self.unreadable.values())


class Mover:
    """Moves one broker."""

    def __init__(self, old: OldBroker, target: Target, wishes: Wishes, rules: Rules) -> None:
        """Nothing is moved yet."""
        self.old, self.target, self.wishes, self.rules = old, target, wishes, rules
        self.tally = Tally()
        #: Set it to end after the batch under way.
        self.stopping = threading.Event()
        self._routes: dict[str, str] = {}
        self._bindings: Mapping[str, tuple[Binding, ...]] = {}
        self._began = 0.0

    def look(self) -> Survey:
        """What is there now."""
        inventory = self.old.inventory()
        self._bindings = inventory.bindings
        return survey(inventory, self.old.layout, self.wishes)

    def begin(self) -> None:
        """Check, become the one bridge, and finish what an earlier one left.

        Raises:
            RefusedError: Something has no place in the fleet, or old workers still run; nothing was moved.
        """
        found = self.look()
        self._began = self.old.now()
        refusals = (*found.refusals, *self._running_workers())
        if refusals:
            raise RefusedError(refusals)
        self._routes = found.routes
        self.target.claim(*self.old.claim())
        self._move(self.old.unfinished())

    def drain(self) -> None:
        """Move until a look at everything finds nothing that could be moved now."""
        while not self.stopping.is_set():
            if not self.sweep():
                # Nothing in the queues that we know: is there a new one?
                routes = self.look().routes
                if routes == self._routes:
                    break
                self._routes = routes
        self.target.finish()

    def follow(self, tell: Callable[[Survey], None]) -> None:
        """Move until told to stop; `tell` is called with every look at everything."""
        while not self.stopping.is_set():
            found = self.look()
            tell(found)
            self._routes = found.routes
            pauses = 0.0
            while not self.stopping.is_set() and pauses < SURVEY_PERIOD:
                if not self.sweep():
                    pauses += self.rules.interval
                    self.stopping.wait(self.rules.interval)
        self.target.finish()

    def sweep(self) -> int:
        """Move what is held for too long and then a batch of every queue; returns how many messages."""
        before = self.tally.count
        self._sweep_held()
        for queue, to in self._routes.items():
            if self.stopping.is_set():
                break
            self._move(self.old.take(queue, to, self.rules.batch))
        return self.tally.count - before

    def _running_workers(self) -> tuple[str, ...]:
        if not self.rules.workers_stopped:
            return ()
        clients = self.old.consumers()
        if clients is None:
            _LOG.warning("the old Redis does not permit CLIENT LIST: nothing checks that all old workers are stopped")
            return ()
        return tuple(f"--workers-stopped: {client} still waits for messages or commands; stop it" for client in clients)

    def _sweep_held(self) -> None:
        stopped = self.rules.workers_stopped
        # What is fetched after we began, a worker fetched that should not run.
        until = self._began if stopped else self.old.now() - self.rules.visibility
        labels: dict[str, Label] = {}
        for held in self.old.held(self._bindings, None if stopped else until):
            label = self._label(held)
            if label is not None:
                labels[held.tag] = label
            if len(labels) == self.rules.batch:
                self._move(self.old.take_held(labels, until, timeless=stopped))
                labels = {}
        if labels:
            self._move(self.old.take_held(labels, until, timeless=stopped))

    def _label(self, held: Held) -> Label | None:
        if held.unreadable:
            # It goes nowhere: `_move` puts it aside.
            return Label("", "", None)
        if held.problem or held.queues[0] not in self._routes:
            return None
        return Label(held.queues[0], self._routes[held.queues[0]], None)

    def _move(self, batch: list[Taken]) -> None:
        if not batch:
            return
        arrivals: list[Arrival] = []
        unreadable: list[str] = []
        for taken in batch:
            try:
                arrivals.append(translate(taken, self.old.layout, self.rules.priorities))
            except UnreadableError as error:
                _LOG.warning("%s: a message is put aside: %s", taken.label.queue or "unacked", error)
                unreadable.append(taken.id)
                self.tally.unreadable[f"{taken.label.queue or 'unacked'}: {error}"] += 1
        stored = self.target.store(arrivals)
        self.old.settle([arrival.id for arrival in arrivals], unreadable)
        for arrival in arrivals:
            self.tally.moved[arrival.label.queue, arrival.label.to, arrival.step] += 1
            self.tally.held += arrival.label.step is None
            self.tally.grouped += arrival.grouped
        self.tally.repeated += len(arrivals) - stored
