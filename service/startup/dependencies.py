"""One look at a dependency: a TCP address, a page, a MongoDB replica set."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import requests


class NotReadyError(Exception):
    """It is not there yet; the text says why."""


class HopelessError(Exception):
    """It will not be there, however long one waits; the text says why."""


def look(url: str, timeout: float) -> None:
    """Look once whether what the address names is ready.

    Args:
        url: A checked address, see `service.startup.address`.
        timeout: Seconds for each step of the conversation.

    Raises:
        NotReadyError: It is not.
        HopelessError: Waiting will not help.
    """
    scheme = urlsplit(url).scheme
    if scheme == "tcp":
        _tcp(url, timeout)
    elif scheme in ("http", "https"):
        _http(url, timeout)
    else:
        _mongodb(url, timeout)


def _tcp(url: str, timeout: float) -> None:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout).close()
    except OSError as error:
        raise NotReadyError(error.strerror or str(error)) from error


def _http(url: str, timeout: float) -> None:
    try:
        # The head is enough, and a page that is large costs nothing.
        with requests.get(url, timeout=timeout, stream=True) as response:
            status = response.status_code
    except requests.ConnectionError as error:
        raise NotReadyError(_innermost(error)) from error
    except requests.RequestException as error:
        raise NotReadyError(type(error).__name__) from error
    if status >= requests.codes.bad_request:
        raise NotReadyError(f"it answers with status {status}")


def _innermost(error: BaseException) -> str:
    """The reason under requests' and urllib3's wrappings, which repeat the address with its password."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


def _mongodb(url: str, timeout: float) -> None:
    try:
        from dns import resolver
        from dns.exception import Timeout
        from pymongo import MongoClient, errors
    except ImportError as error:
        raise HopelessError("looking at MongoDB needs the package pymongo, which is not installed") from error
    milliseconds = int(timeout * 1000)
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(
            url,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
        )
        with client:
            # Goes to the primary, and logs in first.
            hello = client.admin.command("hello")
    except errors.ConfigurationError as error:
        # Of an address that is wrong, and of whatever kept the driver from its SRV record.
        if isinstance(error.__cause__, Timeout):
            # Its text tells how long it took, which would be news at every look.
            raise NotReadyError("no name server answered in time") from error
        if isinstance(error.__cause__, (resolver.NXDOMAIN, resolver.NoAnswer, resolver.NoNameservers, OSError)):
            raise NotReadyError(str(error)) from error
        raise HopelessError(str(error)) from error
    except errors.OperationFailure as error:
        raise HopelessError(f"it refuses: {error.details.get('errmsg') if error.details else 'the command'}") from error
    except errors.PyMongoError as error:
        raise NotReadyError(_first_sentence(error)) from error
    if not (hello.get("setName") or hello.get("msg") == "isdbgrid"):
        raise HopelessError("it is a single server and no replica set")
    if not hello.get("isWritablePrimary"):
        raise NotReadyError("no member is the primary")


def _first_sentence(error: Exception) -> str:
    """Without the description of the whole topology that the driver appends."""
    return str(error).split(", Timeout:")[0].split(" (configured timeouts")[0]
