"""The breakers' states in the cluster: one hash, changed by one script, so that every step is atomic fleet-wide."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import pybreaker

from service import fleet
from service.rediscluster.cluster import Cluster
from service.rediscluster.options import SCHEME, TLS_SCHEME, parse
from service.rediscluster.scripts import Script, script

#: One slot for all breakers.
KEY: Final = f"{fleet.BROKER_PREFIX}breakers"
#: Seconds for which one request may be repeated: the call it guards should not wait longer.
DEADLINE: Final = 2.0
#: Seconds after which a call that met a probe may look again.
LOOK_AGAIN: Final = 10.0
#: Seconds for which a breaker is remembered that nothing is stored about.
MEMORY: Final = 86_400.0

#: `probe` is the one call that may try a half-open breaker, `changed` the late end of a call that no longer counts.
State = Literal["closed", "open", "half-open", "probe", "changed"]


class BreakerOpenError(pybreaker.CircuitBreakerError):
    """A call was not made because its breaker is open.

    Attributes:
        name: The breaker.
        seconds: After which another attempt is worth it.
    """

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"breaker {name} is open for {seconds:.0f} s")
        self.name, self.seconds = name, seconds


class Seen(NamedTuple):
    """A breaker's state at one step.

    Attributes:
        state: What it is.
        since: Names the period of this state, by the server's clock in milliseconds.
        failures: In a row, fleet-wide.
        seconds: Until another attempt is worth it.
    """

    state: State
    since: int
    failures: int
    seconds: float


class Standing(NamedTuple):
    """A breaker for metrics, fleet-wide: whether calls are held back, and what has happened."""

    open: bool
    failures: int
    opened: int
    refused: int


@dataclass(frozen=True)
class Rules:
    """When a breaker opens, and for how long.

    Attributes:
        failures: In a row, fleet-wide, that open it.
        seconds: For which it then stays open, and which a probe may take.
    """

    failures: int = 5
    seconds: float = 60.0


@cache
def _script() -> Script:
    return script("breaker", files(__package__).joinpath("lua/breaker.lua").read_text("utf-8"))


class Breakers:
    """All breakers of a cluster. Methods may be called from any thread.

    They raise `redis.exceptions.RedisError` or `OSError` when the shard does not answer in time.
    """

    def __init__(self, cluster: Cluster, rules: Rules) -> None:
        """Connects on first use."""
        self.rules = rules
        self._cluster = cluster

    def enter(self, name: str) -> Seen:
        """Ask whether a call may be made; a probe is granted to one call of the fleet at a time."""
        return self._step("enter", name, 0)

    def succeeded(self, name: str, since: int) -> Seen:
        """The call that entered in this period succeeded."""
        return self._step("succeeded", name, since)

    def failed(self, name: str, since: int) -> Seen:
        """It failed."""
        return self._step("failed", name, since)

    def _step(self, step: str, name: str, since: int) -> Seen:
        limits = (self.rules.failures, int(self.rules.seconds * 1000), int(LOOK_AGAIN * 1000))
        arguments = (step, name, *limits, since, int(MEMORY * 1000))
        state, period, failures, left = self._cluster.script(_script(), [KEY], lambda _: arguments, DEADLINE)
        return Seen(state.decode(), period, failures, left / 1000)


def standings(cluster: Cluster) -> dict[str, Standing]:
    """Every breaker about which something was stored in the last `MEMORY` seconds, by name.

    Raises:
        redis.exceptions.RedisError: The shard did not answer in time.
    """
    flat = cluster.call(KEY, "HGETALL", KEY, deadline=DEADLINE)
    found = {}
    # Some are still stored a little longer. Our own clock will do: hosts' differ by much less.
    oldest = (time.time() - MEMORY) * 1000
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        state, _, failures, opened, refused, touched = value.decode().split(" ")
        if int(touched) > oldest:
            found[name.decode()] = Standing(state != "closed", int(failures), int(opened), int(refused))
    return found


_breakers: dict[tuple[int, str], Breakers] = {}


def breakers_of(conf: Mapping[str, Any]) -> Breakers | None:
    """The breakers on an app's broker, with connections of this process's own; None if that is no cluster."""
    url: str = conf["broker_url"] or ""
    if urlsplit(url).scheme not in (SCHEME, TLS_SCHEME):
        return None
    # A forked child must not share its parent's connections.
    known = _breakers.get((os.getpid(), url))
    if known is None:
        options = {**conf["broker_transport_options"], "socket_timeout": DEADLINE}
        rules = Rules(conf.get("breaker_failures") or Rules.failures, conf.get("breaker_seconds") or Rules.seconds)
        known = _breakers.setdefault((os.getpid(), url), Breakers(Cluster(parse(url, options)), rules))
    return known
