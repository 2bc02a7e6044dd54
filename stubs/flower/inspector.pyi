from typing import Any

from celery import Celery
from tornado.ioloop import IOLoop

class Inspector:
    def __init__(self, io_loop: IOLoop, capp: Celery, timeout: float) -> None: ...
    def _on_update(self, workername: str, method: str, response: Any) -> None: ...
