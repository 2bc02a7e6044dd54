"""What the fleet's app does for the safety of messages: docs/security.md."""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import Celery, bootsteps
from celery.app.amqp import AMQP

from service.settings import Settings
from service.signing import sign

_LOG = logging.getLogger(__name__)

#: Stands for the arguments wherever Celery shows them.
HIDDEN: Final = "…"


class QuietAMQP(AMQP):
    """Leaves the arguments out of the headers, from which Celery takes them for logs, events and Flower."""

    def as_task_v2(self, *args: Any, **options: Any) -> Any:
        """As Celery's; who calls a task may say what is shown, by `argsrepr` and `kwargsrepr`."""
        return super().as_task_v2(*args, **{"argsrepr": HIDDEN, "kwargsrepr": HIDDEN} | options)


class PickleAccepted(bootsteps.Step):
    """Says in the log of a worker that starts what accepting pickle means."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        """The worker starts."""
        super().__init__(parent, **kwargs)
        _LOG.warning("FLEET_ALLOW_PICKLE: this worker accepts pickle, so whoever can publish can run any code in it")


def secure(app: Celery, settings: Settings) -> None:
    """Add all that to an app that is configured and has not sent anything yet.

    Raises:
        ImproperlyConfigured: The signing directory is of no use.
    """
    app.amqp_cls = f"{__name__}:{QuietAMQP.__name__}"
    app.conf.broker_transport_options["message_limit"] = settings.message_limit
    if settings.allow_pickle:
        app.steps["worker"].add(PickleAccepted)
    if settings.signing_directory is not None:
        sign(app, settings.signing_directory)
