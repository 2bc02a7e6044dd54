"""Whoever waits for a task that died without a worker's word is told: result, `link_error`, chain and chord.

A task that fails is reported by its worker. For the reasons in `UNTOLD` there was none that could: the message was
taken from workers that were gone, or none could read it or knew its task. The drainer, once it has stored such a
letter, sends the task `service.deadletters.tasks.tell` to the queue `dead_letter`, which reports the failure in a
process of the pool, where callbacks may take their time, and is tried again while the results are away.

A letter that is drained twice has two such tasks. One of them claims it, with the token that all its deliveries and
retries have in common, so that a run which breaks off is completed and nobody is told twice.
"""

from __future__ import annotations

import logging
from typing import Any, Final
from uuid import uuid4

from celery import Celery
from celery.app.task import Context
from celery.exceptions import NotRegistered
from kombu.message import Message
from kombu.serialization import prepare_accept_content

from service import fleet
from service.deadletters.letter import Letter
from service.rediscluster.errors import DeadMessageError
from service.rediscluster.message_format import unpack

_LOG = logging.getLogger(__name__)

#: Here its last worker has stored a result, and told nobody else.
UNKNOWN: Final = "unknown-task"
#: Why a message may be dead without anybody having been told, and how it is told.
UNTOLD: Final = {
    "delivery-limit": "it was lost or requeued more often than delivery_limit allows",
    "undecodable": "its body cannot be decoded",
    "refused": "its content type is not accepted",
    "oversized": "its body is larger than the limit",
    "invalid-task": "it is not a valid task",
    UNKNOWN: "no worker knew it",
}
TELL: Final = "service.deadletters.tasks.tell"
#: Seconds for which it is known who tells of a letter: longer than that is tried.
CLAIMED: Final = 7 * 86_400
#: What is never read, whatever the app accepts.
_PICKLE: Final = frozenset({"application/x-python-serialize"})


def is_untold(letter: Letter) -> bool:
    """Whether somebody may wait for the task of this letter in vain."""
    # What cannot tell is not told of: that would go on for ever.
    return letter.reason in UNTOLD and bool(letter.task_id) and letter.task != TELL


def send_tell(app: Celery, letter: Letter) -> None:
    """Have whoever waits for the task told: once for each letter, however often this is called.

    Raises:
        redis.exceptions.RedisError: The queue `dead_letter` did not take it; calling again is safe.
    """
    queue = fleet.DEAD_LETTER_QUEUE.name
    app.send_task(TELL, (letter.id, uuid4().hex), queue=queue, retry=False, ignore_result=True)


def tell(app: Celery, letter: Letter, token: str) -> bool:
    """Report the failure of a letter's task as its worker would have done, unless the task has a result.

    Args:
        app: Its backend keeps the results.
        letter: One of `is_untold`.
        token: Who tells. Called again with it, after a call that broke off, this completes what that began.

    Returns:
        Whether it was reported; False also when somebody else has claimed it.

    Raises:
        ClusterUnavailableError: The results, or a queue, did not answer; calling again is safe.
        redis.exceptions.OutOfMemoryError: There is no room for it now; calling again is safe.
    """
    try:
        message = unpack(letter.payload)
        headers = dict(message["headers"])
    except (ValueError, KeyError, TypeError):
        return False
    error = _error(letter, headers)
    request = Context(headers, hostname=letter.worker or None, delivery_info={}, called_directly=False)
    body = _body(app, message)
    if body is not None:
        request.update(args=body[0], kwargs=body[1], **body[2])
    elif app.conf.security_key:
        _LOG.warning("letter %s: nobody trusted has signed its message, so nobody is told", letter.id)
        return False
    backend: Any = app.backend
    if not backend.claim(request.id, f"told-{letter.id}", token, CLAIMED):
        return False
    return bool(backend.mark_as_dead(request.id, error, request, store_result=_wants_result(app, headers)))


def _error(letter: Letter, headers: dict[str, Any]) -> Exception:
    if letter.reason == UNKNOWN:
        # The same that its worker stored, which so counts as this report's.
        return NotRegistered(headers.get("task"))
    return DeadMessageError(f"{letter.reason}: {UNTOLD[letter.reason]}", letter.id)


def _wants_result(app: Celery, headers: dict[str, Any]) -> bool:
    task: Any = app.tasks.get(str(headers.get("task")))
    ignored = headers.get("ignore_result")
    if ignored is None:
        ignored = app.conf.task_ignore_result if task is None else task.ignore_result
    return not ignored or bool(getattr(task, "store_errors_even_if_ignored", False))


def _body(app: Celery, message: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]] | None:
    """Arguments, and what follows the task; None if that cannot be read, or must not be."""
    limit = app.conf.get("worker_message_limit")
    if limit is not None and len(message["body"]) > limit:
        return None
    try:
        args, kwargs, embedded = Message(
            body=message["body"],
            content_type=message.get("content-type"),
            content_encoding=message.get("content-encoding"),
            headers=message["headers"],
            accept=(prepare_accept_content(app.conf.accept_content) or set()) - _PICKLE,
        ).decode()
        return args, kwargs, dict(embedded or {})
    except Exception as error:  # noqa: BLE001  whatever a decoder raises for what somebody sent
        _LOG.info("its body cannot be read: %s", error)
        return None
