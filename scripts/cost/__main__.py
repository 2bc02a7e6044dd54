"""`python -m scripts.cost STACK` estimates what the stack costs a month."""

from __future__ import annotations

import argparse
import signal
import sys

from scripts.cost.bill import bill, vcpus
from scripts.cost.prices import UnknownPriceError
from scripts.cost.report import lines
from scripts.render import RenderError, render


def main() -> int:
    """Print the bill; 2 means that something is wrong or missing, and standard error says what."""
    parser = argparse.ArgumentParser(prog="python -m scripts.cost", description=__doc__)
    parser.add_argument("stack")
    args = parser.parse_args()
    # A reader that has seen enough (`| head`) ends the program quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        stack = render(args.stack)
        items = bill(stack)
    except (RenderError, UnknownPriceError) as error:
        print(error, file=sys.stderr)
        return 2
    print(*lines(args.stack, items, vcpus(stack)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
