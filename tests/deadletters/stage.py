"""What these tests share: a fleet's workers, its dead lists, a file for letters, and the command."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from celery import Celery

from scripts.localcluster import LocalCluster
from service.deadletters.__main__ import main
from service.deadletters.sqlite import SqliteStore
from service.rediscluster import BrokerInspector
from service.rediscluster.broker import Broker
from service.rediscluster.deadlist import DeadLists, DeadMessage
from service.rediscluster.message_format import unpack
from service.rediscluster.options import parse
from tests.deadletters import endings
from tests.service.running import Container, client, container, environment

T = TypeVar("T")

QUEUE, OTHER, LETTERS = "data_queue", "sync_queue", "dead_letter"
ENDINGS = endings.__name__
#: Seconds that anything may take on a busy machine before the test gives up.
PATIENCE = 45.0


def eventually(condition: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """Poll until a condition is true, and return it; the failure says what did not happen."""
    ends = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < ends, f"{what}: not within {within:g} s"
        time.sleep(0.05)
    return value


def task_id(entry: DeadMessage) -> str:
    """The task's id in a message that died."""
    return str(unpack(entry.payload)["headers"].get("id"))


def give_back_often(stage: Stage, count: int) -> None:
    """Give the queue's messages, all `count` of them, back as often as workers do in a quarter of an hour."""
    broker = Broker(parse(stage.app.conf.broker_url, stage.app.conf.broker_transport_options))
    keys = broker.keys(QUEUE)
    for number in range(30):
        deliveries = broker.settle(keys, "giving-back", count, number + 1).deliveries
        assert len(deliveries) == count
        broker.release(keys, [delivery.ack.lease for delivery in deliveries], lost=False)
    broker.cluster.close()


class Stage:
    """One test's part of the cluster."""

    def __init__(self, cluster: LocalCluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.app: Celery = client(cluster)
        self.lists = DeadLists(self.app.conf.broker_url, self.app.conf.broker_transport_options)
        self.inspector = BrokerInspector(self.app.conf.broker_url, self.app.conf.broker_transport_options)
        self.file = directory / "letters.sqlite"
        self.store = SqliteStore(self.file, days=30)
        self._open = ExitStack()

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a container."""
        values = {"FLEET_QUEUES": QUEUE, "FLEET_TASK_MODULES": ENDINGS, "FLEET_LETTERS_FILE": str(self.file)}
        return environment(self.cluster, self.directory, **{**values, **more})

    def worker(self, **more: str) -> Container:
        """A worker that consumes when this returns."""
        directory = self.directory / f"worker-{time.monotonic_ns()}"
        directory.mkdir()
        variables = self.variables(**more) | {"TMPDIR": str(directory)}
        started = self._open.enter_context(container("worker", variables, directory))
        started.wait_healthy()
        return started

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        """Send a task of `endings`."""
        return self.app.send_task(f"{ENDINGS}.{name}", args=args, **{"queue": QUEUE, **options})

    def dead(self, queue: str = QUEUE) -> list[DeadMessage]:
        """What is on a queue's dead list."""
        return [entry for place in self.lists.places(queue) for entry in self.lists.read(place, 0, 1000)]

    def wait_settled(self, number: int) -> dict[str, DeadMessage]:
        """Wait until so many messages are dead and no other is left; returns the dead by task id."""

        def settled() -> bool:
            stats = self.inspector.stats(QUEUE)
            return stats.dead >= number and not (stats.depth or stats.leased or stats.delayed)

        eventually(settled, f"{number} messages are dead and no other is left")
        return {task_id(entry): entry for entry in self.dead()}

    def command(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run `python -m service.deadletters`; returns exit code, output and errors."""
        output, errors = io.StringIO(), io.StringIO()
        with patch.dict("os.environ", self.variables(**variables)), redirect_stdout(output), redirect_stderr(errors):
            try:
                code = main(list(arguments))
            except SystemExit as ended:
                code = int(str(ended.code))
        return code, output.getvalue(), errors.getvalue()

    def listed(self, *arguments: str) -> list[Mapping[str, Any]]:
        """What `list` says."""
        code, output, errors = self.command("list", "--json", *arguments)
        assert (code, errors) == (0, "")
        found: list[Mapping[str, Any]] = json.loads(output)
        return found

    def close(self) -> None:
        """End the workers, and delete the queues with what these held."""
        self._open.close()
        broker = Broker(parse(self.app.conf.broker_url, self.app.conf.broker_transport_options))
        for queue in (QUEUE, OTHER, LETTERS):
            for place in broker.parts(queue):
                broker.drop(place)
        broker.cluster.close()
        self.lists.close()
        self.inspector.close()
        self.app.close()
