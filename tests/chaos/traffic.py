"""Publishes tasks steadily, one thread for each queue, until they are acknowledged."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from celery import Celery, chord

from tests.chaos.judge import Sent
from tests.chaos.network import join_producers

#: Seconds between two publishes into one queue.
INTERVAL = 0.1
#: Of so many publishes, one is a chord, one completes once, one has a countdown and one takes long.
CHORD_EVERY, ONCE_EVERY, DELAY_EVERY, LONG_EVERY = 25, 10, 10, 10
#: Seconds.
SHORT, LONG = 0.005, 0.4
#: Seconds between the attempts of a publish that was given up.
AGAIN = 0.2


class Traffic:
    """Publishes to all queues; a lost shard stops only its own queue's thread."""

    def __init__(self, app: Celery, queues: Sequence[str], seed: int, *, as_group: bool) -> None:
        """Starts at once; `as_group` lets rules of the network know the producers' connections."""
        self.sent: list[Sent] = []
        #: Numbers of chord bodies and callbacks, which workers publish.
        self.followers: list[int] = []
        #: Publishes that failed with an unknown outcome and were made anew.
        self.repeats: list[str] = []
        self._as_group = as_group
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
        if not any(thread.is_alive() for thread in self._threads):
            return []
        return [f"a publisher does not get through: {len(self.repeats)} attempts, {self.repeats[-1:]}"]

    def publish(self, queue: str, seconds: float) -> int:
        """Publish one task that takes so long, now; returns its number."""
        task = Sent(next(self._numbers), queue, time.monotonic())
        self._send(task, seconds)
        return task.number

    def _publish(self, queue: str, dice: random.Random) -> None:
        if self._as_group:
            join_producers()
        while not self._stopping.wait(INTERVAL * dice.uniform(0.5, 1.5)):
            self._publishing.wait()
            with self._between[queue]:
                if self._publishing.is_set():
                    self._publish_one(queue, dice)

    def _publish_one(self, queue: str, dice: random.Random) -> None:
        if dice.randrange(CHORD_EVERY) == 0:
            self._publish_chord(queue)
            return
        if dice.randrange(ONCE_EVERY) == 0:
            self._publish_once(queue)
            return
        delay = dice.uniform(0.5, 3.0) if dice.randrange(DELAY_EVERY) == 0 else 0.0
        task = Sent(next(self._numbers), queue, time.monotonic(), delay)
        self._send(task, LONG if dice.randrange(LONG_EVERY) == 0 else SHORT)

    def _send(self, task: Sent, seconds: float) -> None:
        options: dict[str, Any] = {"queue": task.queue, "ignore_result": True}
        if task.delay:
            options["countdown"] = task.delay
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
        self.followers.append(end)

    def _publish_once(self, queue: str) -> None:
        first, second = next(self._numbers), next(self._numbers)
        asked = time.monotonic()
        paid, follower = Sent(first, queue, asked, once=True), Sent(second, queue, asked, parts=(first,))
        confirm = self._app.signature("confirm", (second, first), app=self._app, queue=queue, ignore_result=True)
        options: dict[str, Any] = {"queue": queue, "ignore_result": True, "link": confirm}
        # One that is published again is still the same, and may not complete twice.
        options["task_id"] = str(uuid4())
        self._until_acknowledged([paid, follower], lambda: self._app.send_task("pay", (first,), **options))
        self.followers.append(second)

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
                now = time.monotonic()
                self.sent.extend(replace(task, confirmed=now) for task in tasks)
                return
            time.sleep(AGAIN)
