"""`python -m bench [ROUNDS]`: measures both brokers in turn and prints the ratios."""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack

from bench.brokers import ours, stock
from bench.measures import MEASURES


def main(rounds: int) -> int:
    """Print a table in Markdown: median rates, and median and spread of the ratios of all rounds."""
    print("| measure | stock /s | ours /s | ours : stock, median (lowest to highest) |\n|---|---|---|---|", flush=True)
    with ExitStack() as stack:
        theirs, own = stack.enter_context(stock()), stack.enter_context(ours())
        for name, measure in MEASURES.items():
            pairs = [(measure(theirs), measure(own)) for _ in range(rounds)]
            ratios = sorted(mine / other for other, mine in pairs)
            medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"| {name} | {medians[0]:.0f} | {medians[1]:.0f} | {spread} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
