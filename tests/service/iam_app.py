"""A worker's app whose tokens and connections age in seconds instead of minutes and hours."""

from __future__ import annotations

import os

from celery import shared_task

import service.iam
from service.celery_app import app as app

service.iam.USED_SECONDS = float(os.environ["TEST_TOKEN_SECONDS"])  # type: ignore[misc,assignment] # shorter, as said
service.iam.CONNECTION_SECONDS = float(os.environ["TEST_CONNECTION_SECONDS"])  # type: ignore[misc,assignment]


@shared_task
def double(number: int) -> int:
    return 2 * number
