"""The wait: everything at the same time, one deadline, and at its end the reason for each that is missing."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from service import fleet
from service.connection import broker_options, result_options
from service.rediscluster.keys import QueueKeys
from service.settings import Settings
from service.startup.address import shown
from service.startup.dependencies import HopelessError, NotReadyError, look
from service.startup.redis import look_at_cluster

_LOG = logging.getLogger(__name__)

#: Seconds for one look, and between two.
LOOK: Final = 3.0
PAUSE: Final = 0.5

Look = Callable[[float], None]


class StartupError(Exception):
    """Something that the worker needs is not there.

    Attributes:
        problems: One sentence for each.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def wait_for_everything(settings: Settings) -> None:
    """Wait for the cluster, that of the results, and every address in `wait_for`.

    Raises:
        StartupError: Not all of it was ready within `startup_timeout` seconds.
    """
    wait(looks_of(settings), settings.startup_timeout)


def looks_of(settings: Settings) -> dict[str, Look]:
    """What must be looked at, by its name for people."""
    keys = [QueueKeys(fleet.BROKER_PREFIX, name).meta for name in settings.queues]
    host = f"the Redis Cluster at {settings.redis_host}:{settings.redis_port}"
    looks: dict[str, Look] = {host: partial(look_at_cluster, settings.broker_url, broker_options(settings), keys)}
    if settings.result_redis_host is not None:
        result = f"the Redis Cluster for results at {settings.result_redis_host}:{settings.result_redis_port}"
        looks[result] = partial(
            look_at_cluster, settings.result_url, result_options(settings), [f"{fleet.RESULT_PREFIX}start"]
        )
    return looks | {shown(url): partial(look, url) for url in settings.wait_for}


def wait(looks: Mapping[str, Look], timeout: float) -> None:
    """Look at everything until each was ready once.

    Args:
        looks: By name; each takes the seconds that one look may take.
        timeout: Seconds for all of them together.

    Raises:
        StartupError: One is hopeless, or some were not ready in time.
    """
    started = time.monotonic()
    ends = started + timeout
    news: queue.SimpleQueue[tuple[str, Exception | None]] = queue.SimpleQueue()
    for name, one in looks.items():
        # A look may hang in the resolver, which knows no timeout: nobody waits for these threads.
        threading.Thread(target=_watch, args=(name, one, ends, news), name=f"wait {name}", daemon=True).start()
    reasons = dict.fromkeys(looks, "no answer yet")
    while reasons:
        try:
            name, problem = news.get(timeout=max(0.0, ends - time.monotonic()))
        except queue.Empty:
            late = [f"{name} was not ready within {timeout:g} s: {reason}" for name, reason in reasons.items()]
            raise StartupError(late) from None
        if isinstance(problem, HopelessError):
            raise StartupError([f"{name} cannot be used: {problem}"])
        if problem is None:
            del reasons[name]
            _LOG.info("%s is ready after %.1f s", name, time.monotonic() - started)
        elif reasons[name] != str(problem):
            reasons[name] = str(problem)
            _LOG.info("waiting for %s: %s", name, problem)


def _watch(name: str, one: Look, ends: float, news: queue.SimpleQueue[tuple[str, Exception | None]]) -> None:
    while (left := ends - time.monotonic()) > 0:
        try:
            one(min(LOOK, max(left, 0.1)))
        except NotReadyError as error:
            news.put((name, error))
        except Exception as error:  # noqa: BLE001  whatever it is, somebody must hear of it
            known = isinstance(error, HopelessError)
            news.put((name, error if known else HopelessError(f"{type(error).__name__}: {error}")))
            return
        else:
            news.put((name, None))
            return
        time.sleep(PAUSE)
