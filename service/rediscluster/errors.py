"""Errors of the transport, and which errors of redis-py mean that trying again later can help."""

from __future__ import annotations

from redis import exceptions

__all__ = [
    "CONNECTION_ERRORS",
    "ClusterUnavailableError",
    "ConfigurationError",
    "DeadMessageError",
    "MessageTooLargeError",
    "NotReplicatedError",
    "is_retryable",
]


class ConfigurationError(ValueError):
    """A URL or an option is wrong; the message says which, and what would be right."""


class ClusterUnavailableError(exceptions.ConnectionError):
    """The slot's primary did not serve a request before the deadline."""


class MessageTooLargeError(ValueError):
    """A message has more bytes than the option `message_limit`; it was not published."""


class DeadMessageError(Exception):
    """The result of a task whose message is on a dead list, although no worker can tell how it ended.

    Its arguments are a sentence that begins with the reason, and the id of the message.
    """


class NotReplicatedError(exceptions.RedisError):
    """A durable publish was stored, but fewer replicas than asked for said so in time: its fate is unknown."""


#: Error replies that pass by themselves while a topology changes or a node starts; compared with the first word.
_PASSING_REPLIES = frozenset(
    {"LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK", "READONLY", "MISCONF", "UNBLOCKED", "BUSY"}
)

_RETRYABLE_TYPES = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    NotReplicatedError,
    OSError,
)

#: Will not be cured by waiting, although redis-py derives them from ConnectionError.
_FINAL_TYPES = (exceptions.AuthenticationError, exceptions.AuthorizationError)

#: What kombu and Celery must treat as a lost connection. RedisClusterException is a plain Exception and MovedError a
#: ResponseError: without them a worker ends with "Unrecoverable error" at a failover.
CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    ClusterUnavailableError,
    *_RETRYABLE_TYPES,
    exceptions.RedisClusterException,
)


def is_retryable(error: Exception) -> bool:
    """Tell whether the same request can succeed later, on this node or another."""
    if isinstance(error, _FINAL_TYPES):
        return False
    if isinstance(error, _RETRYABLE_TYPES):
        return True
    return isinstance(error, exceptions.ResponseError) and str(error).split(" ", 1)[0] in _PASSING_REPLIES
