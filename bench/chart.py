"""The ratios as an SVG: a bar for the median, a line for the spread, a mark for the target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from bench.results import Results
from bench.rows import KEPT, ROWS, STOCK, Row
from bench.stats import Spread

_LABEL, _PLOT, _RIGHT = 380, 460, 70
_LINE, _BAR, _TOP, _BOTTOM = 34, 10, 56, 30
#: Ends of the logarithmic axis, and what is written on it.
_LOWEST, _HIGHEST = 0.25, 32.0
_TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
_COLOURS = {STOCK: "#2a6f97", KEPT: "#a9b4bd"}
_NAMES = {STOCK: "against stock", KEPT: "against stock that keeps its client"}


@dataclass(frozen=True)
class Bar:
    """How many times better ours is, and how much it should be."""

    title: str
    seen: dict[str, Spread]
    target: float | None


def chart(results: Results) -> str:
    """The drawing."""
    bars = list(_bars(results))
    height = _TOP + _LINE * len(bars) + _BOTTOM
    width = _LABEL + _PLOT + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        "<style>text { font: 13px sans-serif } .small { font-size: 11px }</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(),
        *_axis(height),
        *(line for index, bar in enumerate(bars) for line in _draw(bar, _TOP + _LINE * index)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bars(results: Results) -> Iterator[Bar]:
    for row in ROWS:
        figures = results.of(row.key)
        seen = {side: spread for side in (STOCK, KEPT) if (spread := row.spread(figures, side)) is not None}
        if seen:
            ratio = row.target.ratio if row.target else None
            title = row.title.removesuffix(", messages/s")
            yield Bar(title, {side: better(row, spread) for side, spread in seen.items()}, ratio)


def better(row: Row, spread: Spread) -> Spread:
    """The ratio turned so that more is better."""
    if row.better == "more":
        return spread
    return Spread(1 / spread.median, 1 / spread.highest, 1 / spread.lowest)


def position(ratio: float) -> float:
    """Where a ratio lies on the axis; what is off its ends lies on them."""
    share = math.log(min(max(ratio, _LOWEST), _HIGHEST) / _LOWEST) / math.log(_HIGHEST / _LOWEST)
    return round(_LABEL + _PLOT * share, 1)


def _legend() -> Iterator[str]:
    yield '<text x="8" y="20" font-weight="bold">How many times better (median, spread of the rounds)</text>'
    left = _LABEL + 40
    for side, name in _NAMES.items():
        yield f'<rect x="{left}" y="10" width="12" height="12" fill="{_COLOURS[side]}"/>'
        yield f'<text x="{left + 17}" y="20">{name}</text>'
        left += 130
    yield f'<line x1="{left + 110}" y1="8" x2="{left + 110}" y2="24" stroke="#c1121f" stroke-width="2"/>'
    yield f'<text x="{left + 117}" y="20">target</text>'


def _axis(height: int) -> Iterator[str]:
    for tick in _TICKS:
        x = position(tick)
        colour = "#57606a" if tick == 1 else "#d8dee4"
        yield f'<line x1="{x}" y1="{_TOP - 12}" x2="{x}" y2="{height - _BOTTOM + 4}" stroke="{colour}"/>'
        yield f'<text x="{x}" y="{height - 10}" text-anchor="middle">{tick:g}x</text>'


def _draw(bar: Bar, top: float) -> Iterator[str]:
    yield f'<text x="{_LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(bar.title)}</text>'
    start = position(1)
    for index, (side, seen) in enumerate(bar.seen.items()):
        y, end = top + index * (_BAR + 2), position(seen.median)
        left, width = min(start, end), max(abs(end - start), 1)
        yield f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS[side]}"/>'
        middle = y + _BAR / 2
        low, high = position(seen.lowest), position(seen.highest)
        yield f'<line x1="{low}" y1="{middle}" x2="{high}" y2="{middle}" stroke="#24292f" stroke-width="1.5"/>'
        edge = max(end, high) + 5
        yield f'<text x="{edge}" y="{y + _BAR}" class="small">{seen.median:.2f}x</text>'
    if bar.target is not None:
        x = position(bar.target)
        yield f'<line x1="{x}" y1="{top - 3}" x2="{x}" y2="{top + 25}" stroke="#c1121f" stroke-width="2"/>'
