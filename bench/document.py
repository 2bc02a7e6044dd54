"""Puts the figures into docs/benchmarks.md, between two comments, and the chart beside it."""

from __future__ import annotations

from pathlib import Path

from bench.chart import chart
from bench.results import Results
from bench.table import tables

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
CHART = PAGE.with_suffix(".svg")

BEGIN, END = "<!-- written by make bench -->", "<!-- end of what make bench writes -->"


class PageError(Exception):
    """The page lacks the comments between which the figures stand."""


def write(results: Results) -> None:
    """Replace table and chart.

    Raises:
        PageError: The page has no place for them.
    """
    PAGE.write_text(filled(PAGE.read_text(), f"{tables(results)}\n\n![The ratios]({CHART.name})"))
    CHART.write_text(chart(results))


def filled(page: str, text: str) -> str:
    """The page with `text` between the comments.

    Raises:
        PageError: One of them is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PageError(f"{PAGE.name} must hold the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
