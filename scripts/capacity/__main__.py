"""`python -m scripts.capacity STACK` says what the stack's broker carries."""

from __future__ import annotations

import argparse
import signal
import sys

from bench.results import ResultsError, load
from scripts.capacity.facts import UnknownNodeTypeError
from scripts.capacity.figures import figures
from scripts.capacity.plan import capacity
from scripts.capacity.report import lines
from scripts.capacity.stack import read
from scripts.render import RenderError, render


def main() -> int:
    """Print the table; 2 means that something is wrong or missing, and standard error says what."""
    parser = argparse.ArgumentParser(prog="python -m scripts.capacity", description=__doc__)
    parser.add_argument("stack")
    args = parser.parse_args()
    # A reader that has seen enough (`| head`) ends the program quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        results = load()
        stack = read(render(args.stack))
        measured = figures(results, tls=stack.broker.tls)
        found = capacity(stack, measured)
    except (ResultsError, RenderError, UnknownNodeTypeError) as error:
        print(error, file=sys.stderr)
        return 2
    print(*lines(stack, measured, found, results), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
