"""The Celery app: a factory that turns settings into an app."""

from __future__ import annotations

from typing import Any

from celery import Celery

from service import fleet
from service.connection import broker_options, result_options
from service.deadletters.step import TASKS, drain_step
from service.health.counting import CountingEvents
from service.health.step import health_step
from service.logs import logging_class
from service.protection.step import protection_step
from service.rediscluster import BadMessages, UnderWay  # importing it registers the URL schemes with kombu and Celery
from service.routing import Routing
from service.security import secure
from service.settings import Settings
from service.steps import Grace
from service.task import Task
from service.task_request import Adopt

#: Waits of 2, 4, … 20 s between ten attempts make 110 s; then the worker ends and ECS replaces it.
RECONNECT_ATTEMPTS = 10


def create_app(settings: Settings) -> Celery:
    """Build the app of these settings; several can live in one process.

    Args:
        settings: The validated settings.
    """
    keeps_letters = fleet.DEAD_LETTER_QUEUE.name in settings.queues
    app: Celery = Celery(
        "fleet",
        task_cls=Task,
        events=CountingEvents,
        include=(*settings.task_modules, *((TASKS,) if keeps_letters else ())),
        log=logging_class(settings),
    )
    app.conf.update(
        _connection(settings) | _tasks(settings) | _worker(settings) | _results(settings) | _serialization(settings)
    )
    app.steps["consumer"].add(health_step(settings))
    app.steps["consumer"].add(BadMessages)
    app.steps["consumer"].add(UnderWay)
    app.steps["worker"].add(Adopt)
    app.steps["worker"].add(Grace)
    app.steps["worker"].add(protection_step(settings))
    secure(app, settings)
    if keeps_letters:
        app.steps["worker"].add(drain_step(settings))
    return app


def _connection(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": {
            **broker_options(settings),
            "key_prefix": fleet.BROKER_PREFIX,
            "lease": settings.lease,
            "message_limit": settings.message_limit,
            "partitions": settings.partitions,
        },
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": RECONNECT_ATTEMPTS,
        # Leases survive a reconnect, so what runs is still ours and goes on.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def _tasks(settings: Settings) -> dict[str, Any]:
    routing = Routing(settings.queue_table)
    return {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": settings.soft_time_limit,
        "task_time_limit": settings.time_limit,
        "task_queues": routing.declared_queues(),
        "task_default_queue": fleet.DEFAULT_QUEUE,
        "task_default_routing_key": fleet.DEFAULT_QUEUE,
        "task_queue_max_priority": fleet.MAX_PRIORITY,
        "task_routes": (routing.route,),
        # A misspelt queue is an error for the publisher, not a queue that nobody serves.
        "task_create_missing_queues": False,
    }


def _worker(settings: Settings) -> dict[str, Any]:
    return {
        "worker_prefetch_multiplier": 1,
        "worker_max_tasks_per_child": settings.max_tasks_per_child,
        # Not Celery's: read by our Grace.
        "worker_shutdown_grace": settings.shutdown_grace,
        # Not Celery's: read by our BadMessages.
        "worker_message_limit": settings.message_limit,
        # Not Celery's: read by service.breaker.
        "breaker_failures": settings.breaker_failures,
        "breaker_seconds": settings.breaker_seconds,
        # A pool process on a busy machine may take longer to start than Celery's 4 s.
        "worker_proc_alive_timeout": 30,
        "worker_hijack_root_logger": True,
    }


def _results(settings: Settings) -> dict[str, Any]:
    return {
        "result_backend": settings.result_url,
        "result_backend_transport_options": {**result_options(settings), "key_prefix": fleet.RESULT_PREFIX},
        "result_expires": settings.result_expires,
        "result_compression": "gzip",
        # Otherwise every thread, with gevent every task, opens connections of its own: slower than most tasks.
        "result_backend_thread_safe": True,
    }


def _serialization(settings: Settings) -> dict[str, Any]:
    accepted = ["json", "pickle"] if settings.allow_pickle else ["json"]
    return {
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": accepted,
        "result_accept_content": accepted,
    }
