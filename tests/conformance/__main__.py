"""Run the suites of Celery and kombu on a cluster: `python -m tests.conformance [OPTION…] [TARGET…]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.conformance.deselected import stale
from tests.conformance.report import table
from tests.conformance.run import Outcome, run_on_cluster, run_on_stock
from tests.conformance.suites import SUITES, fetch, unpack


def main() -> int:
    """Run and report.

    Returns:
        The exit status: 0 if every test that is not on the list passed on the cluster.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--suite", choices=[suite.name for suite in SUITES], help="one of them alone")
    parser.add_argument("--part", action="store_true", help="only what fits into the time of CI")
    parser.add_argument("--stock", action="store_true", help="run all tests on a single Redis instead, to compare")
    parser.add_argument("--jobs", type=int, default=1, help="how many files at a time, each on a server of its own")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="files, classes or tests (default: all)")
    options = parser.parse_args()
    fetch()
    rows: list[tuple[str, Outcome]] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory, ThreadPoolExecutor(options.jobs) as pool:
        for suite in SUITES:
            if options.suite not in (None, suite.name):
                continue
            root = unpack(suite, Path(directory))
            targets = options.targets or (suite.part if options.part else suite.targets(root))
            outcome = Outcome()
            for result in pool.map(partial(run_on_stock if options.stock else run_on_cluster, suite, root), targets):
                outcome.add(result)
            rows.append((f"{suite.name}, {'stock' if options.stock else 'cluster'}", outcome))
            if not (options.targets or options.part or options.stock):
                problems += stale(suite.name, outcome.outcomes)
    print(table(rows), *problems, sep="\n", flush=True)
    return int(bool(problems) or not all(outcome.good for _, outcome in rows))


if __name__ == "__main__":
    sys.exit(main())
