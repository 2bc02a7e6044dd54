"""`python -m scripts.render STACK` prints the stack's resources as JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys

import pulumi

from scripts.render.project import ProjectError
from scripts.render.run import run


def main() -> int:
    """Print the render; 2 means that stack or configuration are wrong, and standard error says how."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render", description=__doc__)
    parser.add_argument("stack")
    parser.add_argument("--config", type=json.loads, help="JSON laid over the stack's celery-fleet:fleet")
    parser.add_argument("--preview", action="store_true", help="as a first preview sees it: nothing exists yet")
    args = parser.parse_args()
    # A reader that has seen enough (`| head`) ends the program quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        document = run(args.stack, args.config, args.preview)
    except (ProjectError, pulumi.RunError) as error:
        print(error, file=sys.stderr)
        return 2
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
