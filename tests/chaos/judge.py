"""What became of the tasks, and why some ran twice: pure functions of what was noted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from statistics import median

from tests.chaos.ledger import Record, Run, Stall
from tests.chaos.plan import PRIMARY_KINDS, Kind, Step

#: Why a task that was published with an unknown outcome, and then again, may run twice.
REPEATED = "published twice"
#: Why the body of a chord, or a callback, may run twice.
HEADER = "what it follows ran twice"
#: Why what a worker held may run twice that the machine let stand still.
STALLED = "a worker stood still by itself"
#: Seconds around the request to stop in which a pool process may have taken a task that its worker was not told of.
TAKEN_AT_THE_END = 2.0


@dataclass(frozen=True)
class Sent:
    """A task that was published.

    Attributes:
        number: Its identity in the ledger.
        queue: Where it was sent.
        asked: When publishing it began.
        confirmed: When that ended.
        delay: Its countdown in seconds.
        parts: The numbers of what it follows, if it is a chord's body or a callback.
        once: Whether it may complete only once.
        repeated: Whether a publish of it failed and was made anew.
    """

    number: int
    queue: str
    asked: float
    delay: float = 0.0
    parts: tuple[int, ...] = ()
    once: bool = False
    repeated: bool = False
    confirmed: float = 0.0


@dataclass
class Strike:
    """A fault that happened.

    Attributes:
        step: The plan.
        since: From when on what the cluster acknowledged may be undone: a lost primary may not have replicated it.
        struck: When the fault began.
        healed: When everything was as before; never, if the fault did not end as it should.
        workers: Main processes of the workers that it hit, if it may make their tasks run again.
        processes: Pool processes that it hit.
        stopped: When each main process that was to end was told so.
        queues: Queues whose primary it hit, if that may make their tasks run again.
        flowing: Seconds from `struck` until each queue had done a task that was published after it.
    """

    step: Step
    since: float
    struck: float
    healed: float = inf
    workers: frozenset[int] = frozenset()
    processes: frozenset[int] = frozenset()
    stopped: dict[int, float] = field(default_factory=dict)
    queues: frozenset[str] = frozenset()
    flowing: float | None = None


def explains(strike: Strike, earlier: Run, later: Run, queue: str, lease: float) -> bool:
    """Whether docs/guarantees.md lets a task run again because of a fault; only faults that hit this very run count.

    All other kinds, such as a manual failover, a migration or lost replies, explain nothing.
    """
    died = earlier.worker in strike.workers and earlier.began <= strike.struck <= later.began
    # Either of the two: it may also begin after it woke what others had been given meanwhile.
    silent = bool({earlier.worker, later.worker} & strike.workers) and (
        later.began >= strike.struck and earlier.began <= strike.healed + lease
    )
    undone = undoes(strike, earlier, queue)
    match strike.step.kind:
        case Kind.KILL_WORKER:
            return died
        case Kind.KILL_CHILD | Kind.STOP_CHILD:
            return earlier.process in strike.processes and earlier.began <= strike.struck <= later.began
        case Kind.FREEZE_WORKER:
            return silent
        case Kind.STOP_WORKER | Kind.ROLLING_RESTART:
            return abs(earlier.began - strike.stopped.get(earlier.worker, -inf)) <= TAKEN_AT_THE_END
        case Kind.CUT_OFF:
            return silent and queue in strike.queues
        case Kind.KILL_PRIMARY | Kind.FREEZE_PRIMARY | Kind.KILL_TWO_PRIMARIES:
            return undone
        case Kind.KILL_PRIMARY_AND_WORKER:
            return died or undone
        case _:
            return False


def robs(stall: Stall, earlier: Run, later: Run, lease: float) -> bool:
    """Whether a worker that stood still held the message of two runs meanwhile, and may have lost it to another one."""
    # What it took before and began after it woke, it held.
    until = stall.ended + lease
    if earlier.worker == stall.worker and later.began >= stall.began:
        # Shorter stalls before this one are not noted.
        return earlier.began <= until and (earlier.done is None or earlier.done >= stall.began - lease / 3)
    return later.worker == stall.worker and stall.began <= earlier.began and later.began <= until


def undoes(strike: Strike, run: Run, queue: str) -> bool:
    """Whether a primary that was lost may have taken along what a run left in the cluster."""
    lost = strike.step.kind in PRIMARY_KINDS and queue in strike.queues
    return lost and run.last >= strike.since and run.began <= strike.healed


@dataclass
class Judgement:
    """What became of everything.

    Attributes:
        sent: Tasks published.
        run: Those that were done.
        lost: Numbers that were never done.
        strange: Numbers that ran and that nobody published.
        twice: Numbers done more than once.
        again: Numbers begun more than once and done once.
        once: How many of those that may complete only once did.
        completed_twice: Numbers of those that did so more than once.
        causes: For each of `twice` and `again`, why; empty when there is no cause.
    """

    sent: int
    run: int
    lost: list[int] = field(default_factory=list)
    strange: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    once: int = 0
    completed_twice: list[int] = field(default_factory=list)
    causes: dict[int, str] = field(default_factory=dict)

    @property
    def unexplained(self) -> list[int]:
        """What ran again without a cause."""
        return sorted(number for number, cause in self.causes.items() if not cause)

    def problems(self) -> list[str]:
        """What the guarantees forbid."""
        found = []
        if self.lost:
            found.append(f"lost: {self.lost}")
        if self.strange:
            found.append(f"ran and were never published: {self.strange}")
        if self.completed_twice:
            found.append(f"completed more than once: {self.completed_twice}")
        if self.unexplained:
            found.append(f"ran again without a cause: {self.unexplained}")
        return found


def judge(sent: Collection[Sent], record: Record, strikes: Sequence[Strike], lease: float) -> Judgement:
    """Compare what was published with what ran."""
    known = {task.number: task for task in sent}
    result = Judgement(
        sent=len(known),
        run=len(known.keys() & record.done.keys()),
        lost=sorted(known.keys() - record.done.keys()),
        strange=sorted(record.runs.keys() - known.keys()),
    )
    # A chord's body has a higher number than its parts: their causes are known when it is looked at.
    for number in sorted(known.keys() & record.runs.keys()):
        runs = record.runs[number]
        if len(runs) > 1:
            (result.twice if sum(run.done is not None for run in runs) > 1 else result.again).append(number)
            result.causes[number] = _cause(known[number], runs, strikes, record.stalls, lease, result.causes)
    once = [task for task in known.values() if task.once and task.number in record.tokens]
    result.once = len(once)
    for task in once:
        runs = record.runs[task.number]
        undone = any(undoes(strike, run, task.queue) for strike in strikes for run in runs)
        if len(record.tokens[task.number]) > 1 and not undone:
            result.completed_twice.append(task.number)
    return result


def _cause(
    task: Sent,
    runs: Iterable[Run],
    strikes: Sequence[Strike],
    stalls: Sequence[Stall],
    lease: float,
    causes: Mapping[int, str],
) -> str:
    if task.repeated:
        return REPEATED
    found: dict[str, None] = {}
    for earlier, later in pairwise(sorted(runs, key=lambda run: run.began)):
        reasons = [s.step.kind.value for s in strikes if explains(s, earlier, later, task.queue, lease)]
        if not reasons and any(robs(stall, earlier, later, lease) for stall in stalls):
            reasons = [STALLED]
        if not reasons and any(causes.get(part) for part in task.parts):
            reasons = [HEADER]
        if not reasons:
            return ""
        found |= dict.fromkeys(reasons)
    return "; ".join(found)


def seconds_until_flowing(strike: Strike, sent: Iterable[Sent], record: Record, queues: Iterable[str]) -> float | None:
    """How long after a fault each queue had done a task that was published after it; None when one never did."""
    first: dict[str, float] = {}
    for task in sent:
        if task.asked >= strike.struck and not task.delay and not task.parts and task.number in record.done:
            first[task.queue] = min(record.done[task.number], first.get(task.queue, record.done[task.number]))
    if set(queues) - first.keys():
        return None
    return max(first[queue] for queue in queues) - strike.struck


def table(strikes: Sequence[Strike], result: Judgement) -> str:
    """The verdict as markdown."""
    lines = ["| fault | times | flowing again after: median | at most |", "|---|---:|---:|---:|"]
    for kind in Kind:
        hits = [strike for strike in strikes if strike.step.kind is kind]
        took = [strike.flowing for strike in hits if strike.flowing is not None]
        if len(took) < len(hits):
            times = "never | never"
        elif took:
            times = f"{median(took):.1f} s | {max(took):.1f} s"
        else:
            times = "- | -"
        lines.append(f"| {kind} | {len(hits)} | {times} |")
    lines += ["", "| tasks | |", "|---|---:|"]
    lines += [f"| sent | {result.sent} |", f"| run | {result.run} |", f"| lost | {len(result.lost)} |"]
    lines += [f"| completed once, as they must | {result.once - len(result.completed_twice)} of {result.once} |"]
    for name, numbers in (("run twice", result.twice), ("begun twice, done once", result.again)):
        lines.append(f"| {name} | {len(numbers)} |")
        reasons = [result.causes[number] or "**no cause**" for number in numbers]
        lines += [f"| {name}: {reason} | {reasons.count(reason)} |" for reason in sorted(set(reasons))]
    return "\n".join(lines)


def timeline(sent: Iterable[Sent], record: Record, result: Judgement, origin: float) -> list[str]:
    """What was lost, and what ran more than once, with seconds since `origin`, to be read beside the list of faults."""
    lines = []
    for task in sent:
        if task.number in result.lost:
            begun = [f"{run.began - origin:.2f}" for run in record.runs.get(task.number, ())]
            kind = f"end of the chord of {task.parts}" if task.parts else f"delayed by {task.delay:.2f}"
            lines.append(
                f"task {task.number} of {task.queue} ({kind}) is lost: published {task.asked - origin:.2f}-"
                f"{task.confirmed - origin:.2f}, begun {begun}"
            )
        if task.number in result.causes:
            runs = sorted(record.runs[task.number], key=lambda run: run.began)
            said = [
                f"{run.began - origin:.2f}-{'' if run.done is None else format(run.done - origin, '.2f')}"
                f" in process {run.process} of {run.worker}"
                for run in runs
            ]
            cause = result.causes[task.number] or "no cause"
            lines.append(
                f"task {task.number} of {task.queue} ({cause}): published {task.asked - origin:.2f}, ran {said}"
            )
    return lines
