"""What the `dead_letter` service's pool does for its drainer: the task that tells who waits for a dead one."""

from __future__ import annotations

import logging

from celery import current_app, shared_task
from kombu.exceptions import OperationalError
from redis import exceptions

from service.deadletters import untold
from service.deadletters.letter import Letter
from service.deadletters.store import NoLetterError, StoreError, open_store
from service.rediscluster.deadlist import DeadLists
from service.settings import load_settings

_LOG = logging.getLogger(__name__)

#: Tried for about a day, every ten minutes in the end.
_RETRIES = 150


@shared_task(
    name=untold.TELL,
    ignore_result=True,
    # Of a callback's queue that is away, kombu says OperationalError.
    autoretry_for=(StoreError, exceptions.RedisError, OperationalError, OSError),
    default_retry_delay=5,
    max_retries=_RETRIES,
)
def tell(letter_id: str, token: str) -> None:
    """Tell whoever waits for the task of a letter that it failed, unless it is done, or on its way again.

    Args:
        letter_id: The letter, which is in the store.
        token: The same in every delivery and retry of this task, and in no other.
    """
    store = open_store(load_settings())
    if store is None:
        return
    try:
        letter = store.get(letter_id)
    except NoLetterError:
        _LOG.warning("letter %s is gone from the store: nobody is told", letter_id)
        return
    if letter.state in ("open", "discarded") and not _completed(letter) and untold.tell(current_app, letter, token):
        _LOG.info("letter %s: whoever waits for task %s[%s] was told", letter_id, letter.task, letter.task_id)


def _completed(letter: Letter) -> bool:
    """Whether the task is one that completes once, and did: a worker died before it stored the result."""
    conf = current_app.conf
    lists = DeadLists(conf.broker_url, conf.broker_transport_options)
    try:
        return lists.completed(letter.queue, letter.task_id)
    finally:
        lists.close()
