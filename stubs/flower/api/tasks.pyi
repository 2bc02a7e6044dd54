from collections.abc import Callable
from typing import Any, ClassVar

from celery.result import AsyncResult
from flower.views import BaseHandler

class BaseTaskHandler(BaseHandler):
    # A method.
    update_response_result: ClassVar[Callable[[Any, dict[str, Any], AsyncResult[Any]], None]]
