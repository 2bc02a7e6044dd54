"""`python -m scripts.checks STACK` checks a stack as it would be deployed, without an AWS account."""

from __future__ import annotations

import argparse
import json
import sys

from scripts.checks import CHECKS, run
from scripts.checks.program import preview_differs
from scripts.render import RenderError, render


def main() -> int:
    """Print every problem; 1 if there is one, 2 if the stack cannot be rendered."""
    parser = argparse.ArgumentParser(prog="python -m scripts.checks", description=__doc__)
    parser.add_argument("stack")
    parser.add_argument("--config", type=json.loads, help="JSON laid over the stack's celery-fleet:fleet")
    args = parser.parse_args()
    try:
        update = render(args.stack, args.config)
        preview = render(args.stack, args.config, preview=True)
    except RenderError as error:
        print(error, file=sys.stderr)
        return 2
    found = [*run(update), *(("preview", problem) for problem in preview_differs(preview, update))]
    for name, problem in found:
        print(f"{name}: {problem}")
    resources = sum(not resource.component for resource in update.resources)
    print(f"{len(found)} problems in {resources} resources of {args.stack}, {len(CHECKS) + 1} checks")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
