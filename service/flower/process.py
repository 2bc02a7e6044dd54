"""`python -m service flower`: the page, until told to stop."""

from __future__ import annotations

import logging
import signal
from typing import Any, Final

from celery import Celery
from celery.result import AsyncResult
from flower.api.tasks import BaseTaskHandler
from flower.app import Flower
from flower.command import extract_settings, setup_logging
from flower.urls import settings as page_settings
from flower.views import BaseHandler
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.options import options

from service import fleet, heartbeat, logs
from service.app import create_app
from service.flower.hearing import MaskedEvents, MaskedInspector
from service.flower.queues import Queues
from service.redaction import Redaction
from service.rediscluster import BrokerInspector
from service.settings import Settings, SettingsError, exit_with

_LOG = logging.getLogger(__name__)

#: Tasks that it remembers, the latest ones; some kilobytes each. Flower's own default is ten times as many.
MAX_TASKS: Final = 10_000
#: Workers that it remembers; each deployment replaces them all.
MAX_WORKERS: Final = 1000
#: Seconds after which a worker that is gone is not shown any more.
FORGET_WORKERS: Final = 600
#: Seconds that workers get to answer when somebody looks at them.
INSPECT: Final = 2.0
#: Seconds after which a cluster that does not answer is given up: somebody waits for a page.
PATIENCE: Final = 5.0
#: How Flower tells a result.
_FILL: Final = BaseTaskHandler.update_response_result
#: Seconds between two signs of life.
SIGN_OF_LIFE: Final = 10.0


def make(settings: Settings, app: Celery, queues: Queues) -> Flower:
    """Flower as the settings say; it does not listen yet.

    Raises:
        SettingsError: There is no password.
    """
    if settings.flower_password is None:
        raise SettingsError(["FLEET_FLOWER_PASSWORD: must be set: nobody sees Flower without a login"])
    options.address, options.port = settings.flower_host, settings.flower_port
    options.url_prefix = fleet.FLOWER_PREFIX
    options.basic_auth = [f"{fleet.FLOWER_USER}:{settings.flower_password.get_secret_value()}"]
    options.read_only = settings.flower_read_only
    options.purge_offline_workers = FORGET_WORKERS
    setup_logging()
    extract_settings()
    loop, redaction = IOLoop.current(), Redaction(settings.known_secrets)
    events = MaskedEvents(
        app,
        redaction,
        io_loop=loop,
        enable_events=settings.flower_events,
        max_tasks_in_memory=MAX_TASKS,
        max_workers_in_memory=MAX_WORKERS,
    )
    flower = Flower(options, app, events, loop, **page_settings)
    flower.inspector = MaskedInspector(redaction, loop, app, INSPECT)
    _adapt(queues, redaction)
    return flower


def _adapt(queues: Queues, redaction: Redaction) -> None:
    """Two things that Flower has no place for."""

    def fill(handler: BaseTaskHandler, response: dict[str, Any], result: AsyncResult[Any]) -> None:
        _FILL(handler, response, result)
        response |= redaction.value(response)

    # It chooses a broker by the URL's scheme, and knows no cluster.
    BaseHandler.get_broker = lambda _: queues
    # It reads results from the backend, past what was masked on its way here.
    BaseTaskHandler.update_response_result = fill


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    logs.configure(settings)
    heartbeat.clear()
    app = create_app(settings)
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "retry_deadline": PATIENCE}
    inspector = BrokerInspector(settings.broker_url, app.conf.broker_transport_options)
    try:
        flower = make(settings, app, Queues(inspector.stats, settings.queue_names))
        port = flower.start_http_server()
    except SettingsError as error:
        exit_with(error)
    except OSError as error:
        exit_with(SettingsError([f"FLEET_FLOWER_PORT={settings.flower_port}: {error.strerror}"]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: flower.io_loop.add_callback_from_signal(flower.io_loop.stop))
    _LOG.info("Flower is at http://%s:%s/%s/", settings.flower_host, port, fleet.FLOWER_PREFIX)
    PeriodicCallback(lambda: _sign_of_life(flower), SIGN_OF_LIFE * 1000).start()
    _sign_of_life(flower)
    flower.start()
    flower.stop()
    inspector.close()
    return 0


def _sign_of_life(flower: Flower) -> None:
    # The thread that hears the workers tries again whatever happens; without it the page would go stale.
    if not flower.started or flower.events.is_alive():
        heartbeat.touch()
