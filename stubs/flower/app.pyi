from typing import Any

from celery import Celery
from tornado.ioloop import IOLoop
from tornado.options import OptionParser
from tornado.web import Application

from .events import Events
from .inspector import Inspector

class Flower(Application):
    events: Events
    inspector: Inspector
    io_loop: IOLoop
    options: OptionParser
    started: bool
    def __init__(
        self, options: OptionParser, capp: Celery, events: Events, io_loop: IOLoop, **settings: Any
    ) -> None: ...
    def start_http_server(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
