"""The results for people."""

from __future__ import annotations

from collections.abc import Iterable

from tests.conformance.run import Outcome

COLUMNS = ("passed", "failed", "xfailed", "skipped", "deselected")
SLOWEST = 5


def table(rows: Iterable[tuple[str, Outcome]]) -> str:
    """One line for each run, then what failed, what was repeated, and why tests were left out."""
    rows = list(rows)
    lines = [f"{'':<20}" + "".join(f"{column:>12}" for column in COLUMNS)]
    for name, outcome in rows:
        lines.append(f"{name:<20}" + "".join(f"{len(outcome.having(column)):>12}" for column in COLUMNS))
    for name, outcome in rows:
        lines += _section(f"{name}: broken off", outcome.broken_off)
        lines += _section(f"{name}: failed", outcome.having("failed"))
        repeated = (f"{len(said)} x {test}: {said[-1]}" for test, said in sorted(outcome.reruns.items()))
        lines += _section(f"{name}: repeated", repeated)
        slow = sorted(outcome.seconds.items(), key=lambda entry: -entry[1])[:SLOWEST]
        lines += _section(f"{name}: slowest", (f"{seconds:.0f} s {test}" for test, seconds in slow))
        lines += _section(f"{name}: skipped by the suite itself", _by_reason(outcome, "skipped"))
        lines += _section(f"{name}: deselected", _by_reason(outcome, "deselected"))
    return "\n".join(lines)


def _by_reason(outcome: Outcome, kind: str) -> list[str]:
    counts: dict[str, int] = {}
    for test in outcome.having(kind):
        reason = outcome.reasons.get(test, "no reason given")
        counts[reason] = counts.get(reason, 0) + 1
    return [f"{count:>3}  {reason}" for reason, count in sorted(counts.items())]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    shown = [f"  {line}" for line in lines]
    return ["", title, *shown] if shown else []
