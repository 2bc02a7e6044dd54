"""Routing: the queue and the priority of a message."""

from __future__ import annotations

import pytest
from celery import Celery
from kombu import Queue

from service import fleet
from service.app import create_app
from service.routing import Routing
from service.settings import Settings


@pytest.fixture
def app() -> Celery:
    """The service's app; nothing here connects."""
    return create_app(Settings())


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("service.tasks.high_priority.check_event", "high_priority_queue"),
        ("service.tasks.sync.fetch_page", "sync_queue"),
        ("service.tasks.workflow.merge_statistics", "workflow_queue"),
        ("service.tasks.data.count_tokens", "data_queue"),
        ("service.tasks.monitoring.probe_host", "monitoring_queue"),
        ("service.tasks.default.digest_text", "celery"),
        ("service.tasks.dead_letter.drain_letters", "dead_letter"),
        ("shop.data.import_rows", "data_queue"),
        ("shop.data.sync.prices.pull", "sync_queue"),
        ("shop.orders.sync", "celery"),
        ("shop.database.clean", "celery"),
        ("sync", "celery"),
        ("celery.chord_unlock", "workflow_queue"),
    ],
)
def test_a_task_is_routed_by_its_module(task: str, queue: str) -> None:
    """The last part of the path that is a queue's short name decides, the function's name does not."""
    assert Routing().queue_of(task) == queue


@pytest.mark.parametrize("queue", [*fleet.QUEUES, fleet.DEAD_LETTER_QUEUE], ids=lambda queue: queue.name)
def test_a_message_gets_its_queues_priority(app: Celery, queue: fleet.Queue) -> None:
    """Also when the caller names the queue himself."""
    options = app.amqp.router.route({"queue": queue.name}, "any.task")
    assert (options["queue"].name, options["priority"]) == (queue.name, queue.priority)


def test_a_given_priority_wins(app: Celery) -> None:
    """Priority 0 is a priority too."""
    assert app.amqp.router.route({"priority": 0}, "shop.sync.pull")["priority"] == 0
    assert app.amqp.router.route({"priority": 9, "queue": "celery"}, "shop.sync.pull")["priority"] == 9


def test_a_given_exchange_is_left_alone(app: Celery) -> None:
    """Replies and events go where they belong."""
    options = app.amqp.router.route({"exchange": "replies", "routing_key": "x"}, "shop.sync.pull")
    assert "priority" not in options


def test_a_foreign_queue_object_keeps_its_priority_open(app: Celery) -> None:
    """A queue that is not the fleet's has no default priority."""
    options = app.amqp.router.route({"queue": Queue("mine")}, "shop.sync.pull")
    assert options["queue"].name == "mine"
    assert "priority" not in options


def test_a_misspelt_queue_is_an_error(app: Celery) -> None:
    """It must not make a queue that nobody serves."""
    with pytest.raises(Exception, match="sync_que"):
        app.amqp.router.route({"queue": "sync_que"}, "shop.sync.pull")


def test_every_queue_is_declared_with_priorities() -> None:
    """The six and the dead letters."""
    queues = {queue.name: vars(queue)["max_priority"] for queue in Routing().declared_queues()}
    assert set(queues) == {queue.name for queue in (*fleet.QUEUES, fleet.DEAD_LETTER_QUEUE)}
    assert set(queues.values()) == {10}
