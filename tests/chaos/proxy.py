"""A TCP proxy in front of one node: it answers late, or executes requests and swallows the replies."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HOST = "127.0.0.1"
#: Bytes read at once.
CHUNK = 65_536


@dataclass
class Proxy:
    """Stands before a node.

    Attributes:
        upstream: The node's port.
        delay: Seconds by which everything is late, in each direction.
        patience: Seconds for which a connection works before its replies are swallowed; None swallows nothing. Drawn
            between nothing and this for each connection.
        port: Where it listens.
        swallowed: How many replies never arrived.
    """

    upstream: int
    delay: float = 0.0
    patience: float | None = None
    port: int = 0
    swallowed: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve in a thread of its own; cuts every connection at the end."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), loop).result()
            yield
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Served in a task of our own: asyncio complains of its own ones when they end with an error.
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        self._writers.add(writer)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(HOST, self.upstream)
            ways = [self._requests(reader, up_writer), self._replies(up_reader, writer)]
            tasks = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in (up_writer, writer):
                each.close()
            await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        self._writers.discard(writer)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = None if self.patience is None else asyncio.get_running_loop().time() + random.uniform(0, self.patience)
        while data := await reader.read(CHUNK):
            if ends is not None and asyncio.get_running_loop().time() > ends:
                # The node has done what was asked; who asked sees a lost connection.
                self.swallowed += 1
                return
            await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
