"""`monitoring_queue`: probes and statistics."""

from __future__ import annotations

import logging

from celery import shared_task

from service.work import host

_LOG = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def probe_host() -> host.Probe:
    """Sample the worker's host into the log; the result is stored only for a caller that asks for it."""
    sample = host.probe()
    _LOG.info("host probe", extra={"probe": sample})
    return sample
