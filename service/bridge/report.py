"""What the operator reads: what is there, what was moved, what is left and why. Pure, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from .mover import Tally
from .stock import UNREADABLE, Layout
from .survey import QueueState, Survey, messages


def of_status(survey: Survey, layout: Layout, now: float, visibility: float, consumers: list[str] | None) -> list[str]:
    """What is there.

    Args:
        survey: What is moved where.
        layout: Of the old broker.
        now: Unix time in seconds.
        visibility: Seconds after which a held message is taken.
        consumers: Clients that look like old workers; None: not known.
    """
    shown = {name: state for name, state in survey.queues.items() if state.count}
    lines = ["no message waits in a task queue" if not shown else ""]
    if shown:
        lines = _table(shown, layout)
        lines += [f"{name}: {_held(state, now, visibility)}" for name, state in shown.items() if state.held]
    lines += of_left(survey, shown=True)
    if consumers is None:
        lines.append("the old Redis does not permit CLIENT LIST: whether old workers run is not known")
    lines += [f"an old worker, or something like one: {client}" for client in consumers or ()]
    lines += [f"refused: {sentence}" for sentence in survey.refusals]
    return lines


def _table(shown: dict[str, QueueState], layout: Layout) -> list[str]:
    steps = sorted({*layout.steps, *(step for state in shown.values() for step in state.ready)})
    rows = [("old queue", "new queue", *(f"step {step}" for step in steps), "held")]
    rows += [
        (name, state.to or "none", *(str(state.ready.get(step, 0)) for step in steps), str(len(state.held)))
        for name, state in shown.items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if i < 2 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _held(state: QueueState, now: float, visibility: float) -> str:
    ages = [now - since for since in state.held if since is not None]
    overdue = sum(age >= visibility for age in ages)
    parts = [f"{len(state.held)} held by workers, {overdue} of them long enough to be taken"]
    if overdue < len(ages):
        parts.append(f"the last in {visibility - min(ages):.0f} s")
    if len(ages) < len(state.held):
        parts.append(f"{len(state.held) - len(ages)} without a time, taken only with --workers-stopped")
    return ", ".join(parts)


def of_moved(tally: Tally) -> list[str]:
    """What was moved."""
    by_queue: dict[tuple[str, str], Counter[int]] = {}
    for (old, new, step), count in sorted(tally.moved.items()):
        by_queue.setdefault((old, new), Counter())[step] += count
    lines = [f"moved {old} to {new}: {_by_step(steps)}" for (old, new), steps in by_queue.items()] or ["moved nothing"]
    if tally.held:
        lines.append(f"{tally.held} of them a worker had held")
    if tally.repeated:
        lines.append(f"{tally.repeated} of them an earlier bridge had stored already: not stored again")
    if tally.grouped:
        lines.append(
            f"{tally.grouped} of them belong to groups: a chord completes only if both sides share the results"
        )
    lines += [f"put aside in {UNREADABLE}: {count} of {why}" for why, count in sorted(tally.unreadable.items())]
    return lines


def _by_step(steps: Counter[int]) -> str:
    return f"{messages(steps.total())} ({', '.join(f'step {step}: {count}' for step, count in sorted(steps.items()))})"


def of_left(survey: Survey, *, shown: bool = False) -> list[str]:
    """What stays in the old broker, and why.

    Args:
        survey: What is moved where.
        shown: Whether the queues' own messages have been shown.
    """
    return list(_left(survey, shown=shown))


def _left(survey: Survey, *, shown: bool) -> Iterator[str]:
    for name, state in survey.queues.items():
        if state.count and not shown:
            where = "" if state.to else ", the fleet has no such queue"
            held = f", {len(state.held)} of them held by workers" if state.held else ""
            yield f"left in {name}: {messages(state.count)}{held}{where}"
    for problem, count in sorted(survey.doubtful.items()):
        yield f"left in unacked: {messages(count)}: {problem}"
    for (name, reason), count in sorted(survey.kept.items()):
        yield f"stays in {name}: {messages(count)} ({reason})"
    if survey.taken:
        yield f"taken by a bridge that did not finish: {messages(survey.taken)}; run drain or follow again"
    if survey.unreadable:
        yield f"put aside in {UNREADABLE}: {messages(survey.unreadable)} that nobody can read"


def summary(lines: Sequence[str]) -> str:
    """Lines as text, without empty ones."""
    return "\n".join(line for line in lines if line)
