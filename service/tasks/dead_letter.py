"""`dead_letter`: the fleet's dead letters.

Its workers drain the dead lists by themselves (`service.deadletters.step`); the task is for who does not want to wait.
"""

from __future__ import annotations

from functools import partial

from celery import current_app, shared_task

from service.deadletters.drain import Drainer
from service.deadletters.store import open_store
from service.deadletters.untold import send_tell
from service.rediscluster.deadlist import DeadLists
from service.settings import load_settings


@shared_task
def drain_letters() -> int:
    """Store what is on the dead lists now, without waiting for the next turn; returns how many letters were stored."""
    settings = load_settings()
    store = open_store(settings)
    if store is None:
        return 0
    conf = current_app.conf
    lists = DeadLists(conf.broker_url, conf.broker_transport_options)
    try:
        return Drainer(lists, store, settings.queue_names, partial(send_tell, current_app)).drain_all()
    finally:
        lists.close()
