"""The figures as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.results import Results
from bench.rows import KEPT, OPTION_ROWS, OPTIONS, OURS, ROWS, STOCK, Figures, Row
from bench.stats import Spread, spread

_VERDICT = {True: "yes", False: "**no**", None: ""}


def tables(results: Results) -> str:
    """All that was measured."""
    parts = [_head(results), "\n".join(_comparison(results))]
    if any(results.of(row.key) for row in OPTION_ROWS):
        parts.append("\n".join(_options(results)))
    if results.unsteady:
        rounds = ", ".join(f"{name} {number}" for name, number in sorted(results.unsteady.items()))
        parts.append(f"Rounds in which a bare LPUSH loop changed by more than a quarter: {rounds}.")
    return "\n\n".join(parts)


def _head(results: Results) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    return f"{results.date}, commit {results.commit}, {results.rounds} rounds. {machine[0].upper()}{machine[1:]}."


def _comparison(results: Results) -> Iterator[str]:
    yield "| measure | stock | stock, client kept | ours | ours : stock | target | reached | ours : kept | ≥ kept |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in ROWS:
        figures = results.of(row.key)
        if figures:
            cells = (
                row.title,
                *(_median(row, figures, side) for side in (STOCK, KEPT)),
                _own(row, figures),
                _ratio(row.spread(figures)),
                row.target.text if row.target else "",
                _VERDICT[row.reached(figures)],
                _ratio(row.spread(figures, KEPT)),
                _VERDICT[row.beats_kept(figures)],
            )
            yield f"| {' | '.join(cells)} |"


def _options(results: Results) -> Iterator[str]:
    yield "| ours | " + " | ".join(row.title for row in OPTION_ROWS) + " |"
    yield "|---|" + "---|" * len(OPTION_ROWS)
    for side, title in [(OURS, "without options"), *OPTIONS.items()]:
        cells = []
        for row in OPTION_ROWS:
            figures = results.of(row.key)
            relative = row.spread({OURS: figures.get(side, []), STOCK: figures.get(OURS, [])}) if side != OURS else None
            cells.append(" ".join(filter(None, (_median(row, figures, side), _ratio(relative)))))
        yield f"| {title} | {' | '.join(cells)} |"


def _median(row: Row, figures: Figures, side: str) -> str:
    values = figures.get(side)
    return f"{statistics.median(values):,.{row.digits}f}" if values else ""


def _own(row: Row, figures: Figures) -> str:
    """Ours; with its spread where the worst counts."""
    if row.target and row.target.limit is not None and len(figures[OURS]) > 1:
        seen = spread(figures[OURS])
        return f"{seen.median:,.{row.digits}f} ({seen.lowest:,.{row.digits}f} to {seen.highest:,.{row.digits}f})"
    return _median(row, figures, OURS)


def _ratio(seen: Spread | None) -> str:
    if seen is None:
        return ""
    around = "" if seen.lowest == seen.highest else f" ({seen.lowest:.2f} to {seen.highest:.2f})"
    return f"{seen.median:.2f}x{around}"
