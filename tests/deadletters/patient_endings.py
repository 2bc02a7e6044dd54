"""The tasks of `endings`, for a worker that takes a message again after it went back."""

from __future__ import annotations

from celery import current_app

from tests.deadletters import endings

__all__ = ["endings"]

current_app.conf.broker_transport_options |= {"delivery_limit": 5}
