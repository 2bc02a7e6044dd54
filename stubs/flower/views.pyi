from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol

from tornado.web import RequestHandler

class Broker(Protocol):
    async def queues(self, _: Iterable[str], /) -> list[dict[str, Any]]: ...

class BaseHandler(RequestHandler):
    # A method, and the one place where Flower can be given another broker.
    get_broker: ClassVar[Callable[[Any], Broker]]
