"""Break a fleet at random and judge: `python -m tests.chaos [--seed N] [--seconds S]`."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from types import FrameType

from tests.chaos import network
from tests.chaos.plan import NETWORK_KINDS, Kind
from tests.chaos.runner import WORKERS, run


def main() -> int:
    """Run once; returns 1 if a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats the faults of an earlier run (default: a new one)")
    parser.add_argument("--seconds", type=float, default=600, help="how long faults are begun (default: %(default)g)")
    parser.add_argument("--round", action="store_true", help="however long it takes, every fault happens once")
    parser.add_argument("--seeds", choices=("one", "all"), help="nodes that clients are told of (default: drawn)")
    parser.add_argument("--only", nargs="+", choices=[kind.name for kind in Kind], metavar="KIND", help="these faults")
    parser.add_argument("--keep", metavar="DIRECTORY", help="an empty directory for the ledger and all logs")
    options = parser.parse_args()
    missing = "" if network.PRIVATE in os.environ else network.enter("tests.chaos")
    own_network = None if missing else network.Network(WORKERS)
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    # Ended from outside, it still ends its cluster and its workers.
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)

    seeds = options.seeds or random.Random(f"seeds {seed}").choice(("one", "all"))
    only = f" --only {' '.join(options.only)}" if options.only else ""
    whole = " --round" if options.round else ""
    print(f"python -m tests.chaos --seed {seed} --seconds {options.seconds:g} --seeds {seeds}{only}{whole}", flush=True)
    kinds = {Kind[name] for name in options.only or Kind.__members__}
    if missing and kinds & NETWORK_KINDS:
        print(f"left out: {', '.join(sorted(NETWORK_KINDS))}: no network of their own ({missing})", flush=True)
        kinds -= NETWORK_KINDS
    outcome = run(
        seed,
        options.seconds,
        kinds,
        own_network,
        say,
        one_seed=seeds == "one",
        whole_round=options.round,
        directory=options.keep,
    )
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
