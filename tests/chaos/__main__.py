"""Break a fleet at random and judge: `python -m tests.chaos [--seed N] [--seconds S]`."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from types import FrameType

from tests.chaos.runner import run


def main() -> int:
    """Run once; returns 1 if a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats the faults of an earlier run (default: a new one)")
    parser.add_argument("--seconds", type=float, default=600, help="how long faults are begun (default: %(default)g)")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    # Ended from outside, it still ends its cluster and its workers.
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)

    print(f"python -m tests.chaos --seed {seed} --seconds {options.seconds:g}", flush=True)
    outcome = run(seed, options.seconds, say)
    for line in outcome.details(started):
        print(line, file=sys.stderr)
    print(f"\n{outcome.table()}\n")
    for problem in outcome.problems:
        print(f"BROKEN: {problem}")
    print(f"verdict: {'broken' if outcome.problems else 'every promise kept'}, seed {seed}")
    return 1 if outcome.problems else 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
