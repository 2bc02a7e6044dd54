"""The endpoint: one native thread that answers from what is in memory, whatever the pool is doing.

A thread of `threading` would be a green one under gevent and eventlet and starve behind a busy task, and so would a
socket of `socket`: hence the C module's, which nothing patches. An answer needs no I/O but its own.
"""

from __future__ import annotations

import _socket
import io
import os
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, NamedTuple

from service.rediscluster.logs import logger_for
from service.rediscluster.native import readable, start_thread

#: Its lines come from a native thread.
_LOG = logger_for(__name__)

#: Seconds that a client gets from its connection to the last byte of its answer, and bytes of its request.
PATIENCE: Final = 2.0
MAX_HEAD: Final = 16 * 1024
#: Seconds until the next attempt when a connection could not be accepted.
PAUSE: Final = 1.0


class Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    kind: str
    body: str


class Server:
    """Listens from the start on; answers after `start`.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, host: str, port: int, answer: Callable[[str], Answer | None]) -> None:
        """Take the address.

        Args:
            host: Address to listen on.
            port: Its port; 0 takes a free one.
            answer: From a path to what is said; None for a path that is not there.

        Raises:
            OSError: The address is taken, or not ours.
        """
        self._answer = answer
        # Any: the stubs leave out `_accept`, on which the standard library builds `accept`.
        self._listener: Any = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        self._listener.bind((host, port))
        self._listener.listen(16)
        self.port: int = self._listener.getsockname()[1]
        # A pool process that inherits it would keep the port open when the worker is gone.
        os.register_at_fork(after_in_child=self._listener.close)

    def start(self) -> None:
        """Answer in a thread that does not keep the process alive."""
        start_thread(self._run)

    def _run(self) -> None:
        while True:
            try:
                number, client = self._listener._accept()
            except OSError as error:
                if self._listener.fileno() < 0:
                    return
                # Such as EMFILE: it passes, and whoever asks waits in the backlog.
                _LOG.warning("the health endpoint accepts no connection, next attempt in %g s: %s", PAUSE, error)
                readable([], PAUSE)
                continue
            connection = _socket.socket(fileno=number)
            try:
                self._converse(connection, client)
            except OSError:
                # Whoever asked has gone, or took too long.
                pass
            finally:
                connection.close()

    def _converse(self, connection: _socket.socket, client: Any) -> None:
        ends = time.monotonic() + PATIENCE
        head = b""
        while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
            connection.settimeout(_left(ends))
            received = connection.recv(4096)
            if not received:
                break
            head += received
        reply = io.BytesIO()
        _Conversation(head, reply, client, self._answer)
        connection.settimeout(_left(ends))
        # One timeout for all of it.
        connection.sendall(reply.getvalue())


def _left(ends: float) -> float:
    """Seconds until a moment of the monotonic clock.

    Raises:
        TimeoutError: It has passed.
    """
    if (left := ends - time.monotonic()) <= 0:
        raise TimeoutError
    return left


class _Conversation(BaseHTTPRequestHandler):
    """The standard library's reading of a request, on bytes that are there already."""

    def __init__(self, head: bytes, reply: io.BytesIO, client: Any, answer: Callable[[str], Answer | None]) -> None:
        self.rfile, self.wfile, self.client_address, self._answer = io.BytesIO(head), reply, client, answer
        self.close_connection = True
        self.handle_one_request()

    def do_GET(self) -> None:
        """Answer."""
        try:
            answer = self._answer(self.path.partition("?")[0])
        except Exception as error:  # noqa: BLE001  an endpoint that is silent says less than one that fails
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{type(error).__name__}: {error}\n")
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a check every few seconds is no news, and the lock of a log handler may be a green one."""
