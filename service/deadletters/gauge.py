"""How many letters wait for somebody, for CloudWatch: one number for each queue, from which the alarms are made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config

from service import fleet
from service.deadletters.store import Store
from service.settings import Settings

_LOG = logging.getLogger(__name__)

#: Seconds between two publications.
PERIOD = 60.0


def metric_data(stack: str, counts: Mapping[str, int], now: datetime) -> list[dict[str, Any]]:
    """The `MetricData` of one request."""
    return [
        {
            "MetricName": fleet.METRIC_LETTERS,
            "Dimensions": [
                {"Name": fleet.DIMENSION_STACK, "Value": stack},
                {"Name": fleet.DIMENSION_QUEUE, "Value": queue},
            ],
            "Timestamp": now,
            "Value": float(count),
            "Unit": "Count",
        }
        for queue, count in counts.items()
    ]


class Gauge:
    """Publishes what the store counts. Several publish the same number: the alarms take the largest."""

    def __init__(self, settings: Settings, store: Store, queues: tuple[str, ...]) -> None:
        """Nothing is published yet."""
        self._stack, self._store, self._queues = settings.stack, store, queues
        config = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
        self._cloudwatch = boto3.client("cloudwatch", region_name=settings.aws_region, config=config)

    def run(self, stopping: threading.Event, period: float = PERIOD) -> None:
        """Publish every `period` seconds until told to stop; what fails is logged and tried again at the next beat."""
        while not stopping.is_set():
            try:
                self.publish()
            except Exception as error:  # noqa: BLE001  whatever it is, without this thread nobody hears of new letters
                _LOG.error("the number of dead letters was not published: %s: %s", type(error).__name__, error)
            stopping.wait(period)

    def publish(self) -> None:
        """Count and publish once.

        Raises:
            StoreError: The store did not count.
            botocore.exceptions.ClientError: CloudWatch refused.
            botocore.exceptions.BotoCoreError: CloudWatch did not answer.
        """
        counts = {queue: self._store.count(queue) for queue in self._queues}
        data: Any = metric_data(self._stack, counts, datetime.now(UTC))
        self._cloudwatch.put_metric_data(Namespace=fleet.METRIC_NAMESPACE, MetricData=data)
