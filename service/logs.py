"""Logs: text for people, JSON for machines, never a task's arguments or result."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

from celery._state import get_current_task
from celery.app.log import Logging
from celery.worker.consumer.consumer import (  # type: ignore[attr-defined] # not in the stubs
    INVALID_TASK_ERROR,
    MESSAGE_DECODE_ERROR,
    UNKNOWN_FORMAT,
    UNKNOWN_TASK_ERROR,
)
from pythonjsonlogger.json import JsonFormatter

from service.redaction import Redaction
from service.settings import Settings

#: Parts what we write ourselves from what may hold a secret; it is taken out again.
_MARK: Final = "\0"
_TEXT: Final = f"%(asctime)s %(levelname)-7s %(processName)s %(name)s: {_MARK}%(message)s"
#: Libraries whose debug output is noise, or prints arguments (`celery.pool` does).
_QUIET: Final = (
    *("amqp", "asyncio", "boto3", "botocore", "celery.pool", "celery.utils.functional"),
    *("kombu", "pymongo", "urllib3"),
)
#: What Celery's own records carry of a task's input and output.
_PRIVATE: Final = ("args", "kwargs", "return_value")
#: What Celery says with the whole message behind it, and what of that is said here, with how many of the arguments.
_WITH_MESSAGE: Final = {
    INVALID_TASK_ERROR: ("Received invalid task message: %s", 1),
    MESSAGE_DECODE_ERROR: ("Can't decode message body: %s", 1),
    UNKNOWN_FORMAT: ("Received a message that is no task", 0),
    UNKNOWN_TASK_ERROR: ("Received unregistered task of type %s", 1),
}
#: Fields of Celery's records that become fields of ours.
_TASK_FIELDS: Final = {"id": "task_id", "name": "task_name", "runtime": "runtime", "description": "outcome"}


class TaskContext(logging.Filter):
    """Adds the running task to a record and takes arguments and results out of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; every record passes."""
        task = get_current_task()
        if task is not None and task.request is not None:
            record.task_id, record.task_name = task.request.id, task.name
        # Celery's own records keep the task in their arguments, and once more under `data`.
        record.__dict__.pop("data", None)
        if isinstance(record.msg, str) and isinstance(record.args, tuple) and record.msg in _WITH_MESSAGE:
            record.msg, number = _WITH_MESSAGE[record.msg]
            record.args = record.args[:number]
        if isinstance(record.args, dict) and "id" in record.args and "name" in record.args:
            record.args = {key: "…" if key in _PRIVATE else value for key, value in record.args.items()}
            record.__dict__.update(
                {field: record.args[key] for key, field in _TASK_FIELDS.items() if key in record.args}
            )
        return True


class _Text(logging.Formatter):
    """Lines for people, without secrets."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__(_TEXT)
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines."""
        head, _, text = super().format(record).partition(_MARK)
        return head + self._redaction.text(text)


class _Json(JsonFormatter):
    """One object each for machines, without secrets."""

    def __init__(self, redaction: Redaction, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._redaction = redaction

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """The fields of the record."""
        redacted: dict[str, Any] = self._redaction.value(super().process_log_record(log_data))
        return redacted


def _formatter(settings: Settings) -> logging.Formatter:
    redaction = Redaction(settings.known_secrets)
    if settings.log_format == "text":
        return _Text(redaction)
    return _Json(
        redaction,
        ["levelname", "name", "message", "process"],
        timestamp=True,
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields={"stack": settings.stack, "environment": settings.environment},
        reserved_attrs=[*logging.makeLogRecord({}).__dict__, "message", "asctime"],
    )


def _handler(settings: Settings, stream: TextIO | None = None) -> logging.Handler:
    handler = logging.StreamHandler(stream or sys.__stderr__)
    handler.setFormatter(_formatter(settings))
    handler.addFilter(TaskContext())
    return handler


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up the root logger of a process that is not a Celery worker."""
    root = logging.getLogger()
    root.handlers = [_handler(settings, stream)]
    root.setLevel(settings.log_level)
    quieten()


def quieten() -> None:
    """Keep third-party debug output, and with it the tasks' arguments, out of the logs."""
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.INFO)


class FleetLogging(Logging):
    """Celery's logging with the handlers above: belongs to one app, where a signal would change all of them."""

    settings: Settings

    def setup_handlers(self, logger: logging.Logger, *_: Any, **__: Any) -> logging.Logger:
        """Give a logger our handler, once."""
        if not logger.handlers:
            logger.addHandler(_handler(self.settings))
            quieten()
        return logger


def logging_class(settings: Settings) -> type[FleetLogging]:
    """The class for `Celery(log=…)`, which Celery instantiates itself."""
    return type("ConfiguredLogging", (FleetLogging,), {"settings": settings})
