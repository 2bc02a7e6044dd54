"""What the bridge's tests share: a stock broker, queues of the fleet under a prefix of their own, and a bridge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import redis
from celery import Celery
from kombu import Connection, Producer, Queue

from scripts.localcluster import LocalCluster
from service import fleet
from service.bridge.mover import Mover, Rules
from service.bridge.old import OldBroker
from service.bridge.stock import Layout
from service.bridge.survey import Wishes
from service.bridge.target import Target
from service.rediscluster.broker import Broker, Delivery
from service.rediscluster.message_format import unpack
from service.rediscluster.options import parse

KNOWN = tuple(queue.name for queue in (*fleet.QUEUES, fleet.DEAD_LETTER_QUEUE))


@dataclass
class Sides:
    """A stock broker and the fleet."""

    old: str
    cluster: LocalCluster
    prefix: str = field(default_factory=lambda: f"broker:{uuid4().hex}:")

    @property
    def options(self) -> dict[str, Any]:
        """Transport options of the fleet."""
        return {"key_prefix": self.prefix}

    @property
    def raw(self) -> Any:
        """The old Redis."""
        return redis.Redis.from_url(self.old)

    def everything(self) -> dict[bytes, Any]:
        """All keys of the old Redis, as they are stored."""
        keys: Any = self.raw.keys()
        return {key: self.raw.dump(key) for key in keys}

    @property
    def arguments(self) -> list[str]:
        """The bridge's arguments that name both."""
        return ["--from", self.old, "--to", self.cluster.url, "--to-option", f"key_prefix={self.prefix}"]

    @contextmanager
    def bridge(
        self,
        layout: Layout | None = None,
        *,
        renamed: Mapping[str, str] | None = None,
        left: tuple[str, ...] = (),
        options: Mapping[str, Any] | None = None,
        **rules: Any,
    ) -> Iterator[Mover]:
        """A bridge of this process."""
        old = OldBroker(self.raw, layout or Layout())
        target = Target(parse(self.cluster.url, self.options | dict(options or {})), replicas=1)
        with closing(old.client), closing(target):
            yield Mover(old, target, Wishes(KNOWN, renamed or {}, left), Rules(**rules))

    def drain(self, **arguments: Any) -> Mover:
        """Move everything that can be moved."""
        with self.bridge(**arguments) as mover:
            mover.begin()
            mover.drain()
        return mover

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        """The fleet's queues, below kombu."""
        broker = Broker(parse(self.cluster.url, self.options))
        with closing(broker.cluster):
            yield broker

    def arrived(self, queue: str = "celery") -> list[Delivery]:
        """Take what is ready in a fleet's queue, in order."""
        with self.broker() as broker:
            keys = broker.keys(queue)
            if not broker.exists(keys):
                return []
            taken = broker.settle(keys, uuid4().hex, 100_000, 1).deliveries
            broker.settle(keys, "any", 0, 1, [delivery.ack for delivery in taken])
            return taken

    def fleet_app(self, **conf: Any) -> Celery:
        """A plain Celery app on the fleet's side."""
        app = Celery("new", broker=self.cluster.url, set_as_current=False)
        app.conf.update(broker_transport_options=self.options, **conf)
        return app


def stock_app(url: str, **conf: Any) -> Celery:
    """An app on the stock broker."""
    app = Celery("old", broker=url, set_as_current=False)
    app.conf.update(conf)
    return app


def send(app: Celery, numbers: range | list[int], **options: Any) -> list[int]:
    """Publish tasks, each with its number."""
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for number in numbers:
            app.send_task("record", (number,), producer=producer, **options)
    return list(numbers)


def fill(url: str, numbers: range, queue: str = "celery", **options: Any) -> None:
    """Publish many messages fast, whose bodies are their numbers."""
    with Connection(url, transport_options=options.pop("transport_options", {})) as connection:
        producer = Producer(connection.channel())
        for number in numbers:
            producer.publish(number, routing_key=queue, **options)


def number_of(delivery: Delivery) -> int:
    """The number in a task's arguments, or the body itself."""
    body = json.loads(unpack(delivery.payload)["body"])
    return int(body if isinstance(body, int) else body[0][0])


def numbers_of(deliveries: list[Delivery]) -> list[int]:
    """The numbers in order of arrival."""
    return [number_of(delivery) for delivery in deliveries]


class Fetched:
    """A stock consumer that holds messages without acknowledging them, until it is dropped without a word."""

    def __init__(self, url: str, count: int, queue: Queue | str = "celery", **options: Any) -> None:
        """Fetch so many."""
        self.connection = Connection(url, transport_options=options)
        self.channel: Any = self.connection.channel()
        bound = queue if isinstance(queue, Queue) else Queue(queue)
        self.messages: list[Any] = [bound(self.channel).get() for _ in range(count)]
        assert all(self.messages)

    def die(self) -> None:
        """As a killed process: the sockets close and nothing is returned."""
        self.channel.connection.cycle.discard(self.channel)
        self.channel.qos._delivered.clear()
        self.channel.qos._dirty.clear()
        self.channel._disconnect_pools()


def grow_older(sides: Sides, seconds: float, count: int | None = None) -> None:
    """Let the messages that are held, or some of them, have been fetched earlier."""
    tags: Any = sides.raw.zrange("unacked_index", 0, -1)
    for tag in tags[:count]:
        sides.raw.zincrby("unacked_index", -seconds, tag)
