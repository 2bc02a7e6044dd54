"""Tasks that leave a trace besides their result."""

from __future__ import annotations

import time
from pathlib import Path

from celery import shared_task


@shared_task
def note(number: int, directory: str) -> int:
    """Say in a file that it ran."""
    with Path(directory, "ran").open("a") as ledger:
        ledger.write(f"{number}\n")
    return 2 * number


@shared_task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task
def hold(number: int, directory: str) -> int:
    """Run until a file is there."""
    Path(directory, f"held-{number}").touch()
    while not Path(directory, "let-go").exists():
        time.sleep(0.02)
    return 2 * number
