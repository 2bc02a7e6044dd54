"""`--keep`: how to talk to the fleet while it stays up."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from pathlib import Path

from rich.console import Console

from scripts.demo.errors import StoppedError
from scripts.demo.stage import Stage
from service import fleet


def keep_up(console: Console, stage: Stage, directory: Path) -> None:
    """Say how to reach the fleet and wait for Ctrl-C."""
    settings, password = stage.settings, stage.cluster.password
    flower = next((task.environment for task in stage.fleet.tasks if task.service.role == "flower"), None)
    variables = {
        "FLEET_STACK": settings.stack,
        "FLEET_QUEUE_TABLE": fleet.queue_table(settings.queue_table),
        "FLEET_REDIS_HOST": settings.redis_host,
        "FLEET_REDIS_PORT": str(settings.redis_port),
        "FLEET_REDIS_USERNAME": settings.redis_username or "",
        "FLEET_REDIS_PASSWORD": password,
        "FLEET_REDIS_TLS": "true",
        "FLEET_REDIS_CA_FILE": str(settings.redis_ca_file),
    }
    python = shlex.quote(sys.executable)
    snippet = (
        "from service.celery_app import app; from service.tasks.default import digest_text; "
        "print(digest_text.delay('hello fleet').get(timeout=10))"
    )
    lines = [
        "",
        "The fleet stays up until Ctrl-C. In another terminal, in this directory:",
        "",
        *(f"  export {name}={shlex.quote(value)}" for name, value in variables.items()),
        f"  {python} -m celery -A service.celery_app inspect ping",
        f"  {python} -c {shlex.quote(snippet)}",
        "",
        *(
            (
                f"Flower: http://127.0.0.1:{flower['FLEET_FLOWER_PORT']}/{fleet.FLOWER_PREFIX}/",
                f"  user {fleet.FLOWER_USER}, password {flower['FLEET_FLOWER_PASSWORD']}",
            )
            if flower
            else ()
        ),
        f"Metrics: {stage.cloudwatch.url} (moto); logs: {directory}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    # The demo's handlers turn the signal into an exception.
    with contextlib.suppress(StoppedError):
        while True:
            signal.pause()
