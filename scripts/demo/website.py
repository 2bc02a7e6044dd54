"""The local web server whose pages the fleet fetches: the standard library's files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    pages: Sequence[Path]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer `/<number>` with the page of that number."""
        number = self.path.removeprefix("/")
        if not number.isdecimal() or int(number) >= len(self.server.pages):
            self.send_error(404)
            return
        body = self.server.pages[int(number)].read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/x-python")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: thousands of requests are expected."""


class Website:
    """Serves files by number.

    Attributes:
        url: Where; page `n` is at `<url>/<n>`.
    """

    def __init__(self, pages: Sequence[Path]) -> None:
        """Bind to a free port of this machine."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.pages = pages
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="website", daemon=True)

    def start(self) -> None:
        """Begin serving."""
        self._thread.start()

    def stop(self) -> None:
        """End serving."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
