"""`python -m scripts.preview STACK` shows what the stack consists of."""

from __future__ import annotations

import argparse
import signal
import sys

from scripts.preview.tree import lines
from scripts.render import RenderError, render


def main() -> int:
    """Print the tree; 2 means that stack or configuration are wrong, and standard error says how."""
    parser = argparse.ArgumentParser(prog="python -m scripts.preview", description=__doc__)
    parser.add_argument("stack")
    args = parser.parse_args()
    # A reader that has seen enough (`| head`) ends the program quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        rendered = render(args.stack)
    except RenderError as error:
        print(error, file=sys.stderr)
        return 2
    print(*lines(rendered), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
