"""A website whose pages end when the test says so: whoever fetches one is a task that runs."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: A client gives up after 30 s without a byte.
BREATH = 5.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    open: threading.Event
    waiting: threading.Semaphore


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.server.waiting.release()
        try:
            while not self.server.open.wait(BREATH):
                self.wfile.write(b".")
        except OSError:
            return  # the worker was cancelled

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Gate:
    """Holds every request until it is opened."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.open = threading.Event()
        self._server.waiting = threading.Semaphore(0)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait_for(self, requests: int, timeout: float = 60.0) -> None:
        """Wait until so many more have come."""
        for number in range(requests):
            assert self._server.waiting.acquire(timeout=timeout), f"only {number} of {requests} requests came"

    def open(self) -> None:
        self._server.open.set()

    def stop(self) -> None:
        self.open()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
