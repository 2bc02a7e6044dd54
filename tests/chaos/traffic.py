"""Publishes tasks steadily, one thread for each queue, until they are acknowledged."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from celery import Celery, chord

from tests.chaos.judge import Sent

#: Seconds between two publishes into one queue.
INTERVAL = 0.1
#: Of so many publishes, one is a chord, one has a countdown and one takes long.
CHORD_EVERY, DELAY_EVERY, LONG_EVERY = 25, 10, 10
#: Seconds.
SHORT, LONG = 0.005, 0.4


class Traffic:
    """Publishes to all queues; a lost shard stops only its own queue's thread."""

    def __init__(self, app: Celery, queues: Sequence[str], seed: int) -> None:
        """Starts at once."""
        self.sent: list[Sent] = []
        #: Numbers of chord bodies, which workers publish.
        self.bodies: list[int] = []
        #: Publishes that failed with an unknown outcome and were made anew.
        self.repeats: list[str] = []
        self._app = app
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._publishing = threading.Event()
        self._publishing.set()
        self._between = {queue: threading.Lock() for queue in queues}
        self._threads = [
            threading.Thread(target=self._publish, args=(queue, random.Random(f"{seed} {queue}")), daemon=True)
            for queue in queues
        ]
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """Publish nothing more; returns when no publish is under way."""
        self._publishing.clear()
        for lock in self._between.values():
            with lock:
                pass

    def resume(self) -> None:
        """Go on."""
        self._publishing.set()

    def stop(self, within: float) -> list[str]:
        """Publish nothing more, for ever; returns what was wrong."""
        self._stopping.set()
        self.resume()
        ends = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(ends - time.monotonic(), 0))
        return [f"a publisher does not get through: {self.repeats}"] if any(t.is_alive() for t in self._threads) else []

    def _publish(self, queue: str, dice: random.Random) -> None:
        while not self._stopping.wait(INTERVAL * dice.uniform(0.5, 1.5)):
            self._publishing.wait()
            with self._between[queue]:
                if self._publishing.is_set():
                    self._publish_one(queue, dice)

    def _publish_one(self, queue: str, dice: random.Random) -> None:
        if dice.randrange(CHORD_EVERY) == 0:
            self._publish_chord(queue)
            return
        delay = dice.uniform(0.5, 3.0) if dice.randrange(DELAY_EVERY) == 0 else 0.0
        task = Sent(next(self._numbers), queue, time.monotonic(), delay)
        seconds = LONG if dice.randrange(LONG_EVERY) == 0 else SHORT
        options: dict[str, Any] = {"queue": queue, "ignore_result": True} | ({"countdown": delay} if delay else {})
        self._until_acknowledged([task], lambda: self._app.send_task("work", (task.number, seconds), **options))

    def _publish_chord(self, queue: str) -> None:
        first, second, end = (next(self._numbers) for _ in range(3))
        asked = time.monotonic()
        parts = [Sent(number, queue, asked) for number in (first, second)]
        last = Sent(end, queue, asked, parts=(first, second))
        signature = self._app.signature

        def send() -> None:
            header = [signature("part", (part.number,), app=self._app, queue=queue) for part in parts]
            chord(header, app=self._app)(signature("body", (end, [first, second]), app=self._app, queue=queue))

        self._until_acknowledged([*parts, last], send)
        self.bodies.append(end)

    def _until_acknowledged(self, tasks: list[Sent], send: Any) -> None:
        # kombu and the transport repeat a publish under its identity; one that they gave up is a new one, and may be a
        # second copy.
        while True:
            try:
                send()
            except Exception as error:  # noqa: BLE001  whatever it is, the task must be sent
                self.repeats.append(f"{tasks[0].queue}: {error!r}")
                tasks = [replace(task, repeated=True) for task in tasks]
            else:
                self.sent.extend(tasks)
                return
