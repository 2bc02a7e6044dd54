from threading import Thread
from typing import Any

from celery import Celery
from tornado.ioloop import IOLoop

class Events(Thread):
    capp: Celery
    def __init__(
        self,
        capp: Celery,
        io_loop: IOLoop,
        db: str | None = ...,
        persistent: bool = ...,
        enable_events: bool = ...,
        state_save_interval: int = ...,
        *,
        max_tasks_in_memory: int,
        max_workers_in_memory: int = ...,
    ) -> None: ...
    def on_event(self, event: dict[str, Any]) -> None: ...
