"""A worker's app whose tokens and connections age in seconds instead of minutes and hours."""

from __future__ import annotations

import importlib
import os
from typing import Any

from celery import shared_task

iam: Any = importlib.import_module("service.iam")
iam.USED_SECONDS = float(os.environ["TEST_TOKEN_SECONDS"])
iam.CONNECTION_SECONDS = float(os.environ["TEST_CONNECTION_SECONDS"])

#: Made of the settings, and of what was said above.
app = importlib.import_module("service.celery_app").app


@shared_task
def double(number: int) -> int:
    return 2 * number
