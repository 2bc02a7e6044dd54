"""`data_queue`: CPU-bound processing."""

from __future__ import annotations

from pathlib import Path

from celery import shared_task

from service.work import tokens


@shared_task
def count_tokens(path: str) -> tokens.Statistics:
    """Count the tokens of a Python source file that the worker can read.

    Args:
        path: The file.
    """
    return tokens.count_tokens(Path(path))
