"""`python -m scripts.capacity STACK` says what the stack's broker carries."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bench.results import ResultsError, load
from scripts.capacity.facts import UnknownNodeTypeError
from scripts.capacity.figures import figures
from scripts.capacity.plan import capacity
from scripts.capacity.report import lines
from scripts.capacity.stack import read
from scripts.render import Render
from scripts.render.show import show


def _table(render: Render) -> Iterator[str]:
    results, stack = load(), read(render)
    measured = figures(results, tls=stack.broker.tls)
    return lines(stack, measured, capacity(stack, measured), results)


if __name__ == "__main__":
    sys.exit(show("scripts.capacity", __doc__, _table, ResultsError, UnknownNodeTypeError))
