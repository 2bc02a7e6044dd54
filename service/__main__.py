"""The commands of the containers: `python -m service worker`, `monitor`, `beat`, `flower` or `healthcheck`.

Imports are inside the commands: a health check must not pay for Celery.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def worker() -> int:
    """Become the Celery worker that the settings describe."""
    from service.settings import settings_or_exit
    from service.worker import run

    return run(settings_or_exit())


def monitor() -> int:
    """Publish the queues' state to CloudWatch until told to stop."""
    from service.monitor import run
    from service.settings import settings_or_exit

    return run(settings_or_exit())


def beat() -> int:
    """Publish the periodic tasks, or stand by for who does, until told to stop."""
    from service.beat.process import run
    from service.settings import settings_or_exit

    return run(settings_or_exit())


def flower() -> int:
    """Serve Flower, Celery's web page, until told to stop."""
    from service.flower.process import run
    from service.settings import settings_or_exit

    return run(settings_or_exit())


def healthcheck() -> int:
    """Exit with 0 if the process of this container is alive, else say why not and exit with 1."""
    from service import heartbeat

    problem = heartbeat.problem()
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


COMMANDS: dict[str, Callable[[], int]] = {
    "worker": worker,
    "monitor": monitor,
    "beat": beat,
    "flower": flower,
    "healthcheck": healthcheck,
}


def main(arguments: list[str]) -> int:
    """Run one command."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"Usage: python -m service {{{'|'.join(COMMANDS)}}}", file=sys.stderr)
        return 2
    return COMMANDS[arguments[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
