"""Makes a worker give up on its broker soon."""

from __future__ import annotations

from celery import current_app

current_app.conf.broker_connection_max_retries = 1
