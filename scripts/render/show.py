"""What the commands share that say something about a stack."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable

from scripts.render.render import Render, RenderError, render


def show(
    module: str, description: str | None, told: Callable[[Render], Iterable[str]], *refusals: type[Exception]
) -> int:
    """Render the stack that the command line names, and print what is told of it.

    Args:
        module: The command's, as in `python -m MODULE STACK`.
        description: What it does, for its help.
        told: Lines about a render.
        refusals: What `told` may raise; its text is for people.

    Returns:
        The exit code; 2 means that something is wrong or missing, and standard error says what.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("stack")
    args = parser.parse_args()
    # A reader that has seen enough (`| head`) ends the program quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    expected: tuple[type[Exception], ...] = (RenderError, *refusals)
    try:
        lines = list(told(render(args.stack)))
    except expected as error:
        print(error, file=sys.stderr)
        return 2
    print(*lines, sep="\n")
    return 0
