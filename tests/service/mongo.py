"""A server that speaks as much of MongoDB's wire protocol as the driver's `hello` needs."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bson

_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013


class _Conversation(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        while (head := self._read(16)) is not None:
            length, number, _, kind = struct.unpack("<iiii", head)
            self._read(length - 16)
            document = bson.encode(self.server.said)  # type: ignore[attr-defined]
            if kind == _OP_QUERY:
                body = struct.pack("<iqii", 8, 0, 0, 1) + document
                reply = _OP_REPLY
            else:
                body = struct.pack("<iB", 0, 0) + document
                reply = _OP_MSG
            self.request.sendall(struct.pack("<iiii", 16 + len(body), 0, number, reply) + body)

    def _read(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            received = self.request.recv(size - len(data))
            if not received:
                return None
            data += received
        return data


class MongoStub(socketserver.ThreadingTCPServer):
    """Answers every command with what it was told to say.

    Attributes:
        said: The reply's document.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.said: dict[str, Any] = {}

    def say(self, **differs: Any) -> None:
        """Answer as the primary of a replica set would, but for what differs; None leaves a field out."""
        said = {
            "ok": 1.0,
            "isWritablePrimary": True,
            "ismaster": True,
            "helloOk": True,
            "setName": "rs0",
            "setVersion": 1,
            "hosts": [self.address],
            "primary": self.address,
            "me": self.address,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "maxBsonObjectSize": 16 * 2**20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "readOnly": False,
        } | differs
        self.said = {name: value for name, value in said.items() if value is not None}


@contextmanager
def mongo_stub() -> Iterator[MongoStub]:
    with MongoStub() as server:
        server.say()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
