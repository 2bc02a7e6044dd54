"""`python -m bench [--rounds N] [--only NAME,…]`: measures, and prints the tables.

A run of everything also writes bench/results/latest.json, docs/benchmarks.md and its chart.
"""

from __future__ import annotations

import argparse
import sys

from bench import document
from bench.groups import UnknownGroupError
from bench.results import FILE
from bench.run import run
from bench.table import tables
from scripts.localcluster import LocalClusterError


def main() -> int:
    """Run it; 1 if something could not be measured, 2 if a name is unknown."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="comma-separated measures; nothing is written then")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        print("at least one round", file=sys.stderr)
        return 2
    only = {name.strip() for name in arguments.only.split(",") if name.strip()}
    try:
        results, failed = run(arguments.rounds, only)
    except UnknownGroupError as error:
        print(error, file=sys.stderr)
        return 2
    except LocalClusterError as error:
        print(error, file=sys.stderr)
        return 1
    print(tables(results))
    if failed:
        print(*failed, "nothing is written", sep="\n", file=sys.stderr)
        return 1
    if not only:
        results.save()
        document.write(results)
        print(f"written: {FILE}, {document.PAGE}, {document.CHART}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
