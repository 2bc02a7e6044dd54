"""What is compared: stock kombu on one standalone Redis, and the cluster transport on three primaries with replicas."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import redis
from kombu import Connection

import service.rediscluster  # noqa: F401 - registers the URL schemes
from bench.kept import SCHEME
from bench.pinning import SERVERS, on_core
from scripts.localcluster import LocalCluster
from scripts.localcluster.single import single_redis
from service.fleet import REDIS_ACCESS_STRING

#: Parts of the split queue.
PARTS = 3


@dataclass(frozen=True)
class Side:
    """One of those that are compared.

    Attributes:
        name: As in the results.
        url: Of the broker.
        backend: Celery's result backend.
        primaries: Administrators' clients; they answer with str.
        replicas: The same of the replicas.
        options: Transport options.
        backend_options: Those of the result backend.
    """

    name: str
    url: str
    backend: str
    primaries: tuple[redis.Redis, ...]
    replicas: tuple[redis.Redis, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    backend_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def queue(self) -> str:
        """The queue of this side's measures."""
        return f"bench-{self.name}"

    @property
    def nodes(self) -> tuple[redis.Redis, ...]:
        """All servers."""
        return self.primaries + self.replicas

    def connect(self) -> Any:
        """A connection of kombu's."""
        return Connection(self.url, transport_options=dict(self.options))

    def clear(self) -> None:
        """Delete everything on the servers."""
        for node in self.primaries:
            node.flushall()

    def used_memory(self) -> int:
        """Bytes in use on the primaries."""
        return sum(int(node.info("memory")["used_memory"]) for node in self.primaries)

    def cpu_seconds(self) -> float:
        """Processor time of the primaries' main threads since they started, in user and system mode."""
        names = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")
        return sum(float(node.info("cpu")[name]) for node in self.primaries for name in names)

    def connections(self) -> int:
        """Connections of clients, those of replicas apart."""
        return sum(len(node.client_list(_type="normal")) for node in self.nodes)


class Sides:
    """Starts what is asked for, when it is asked for, and ends it all at the end."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._stack = ExitStack()
        self._known: dict[str, Side] = {}

    def __enter__(self) -> Sides:
        """Start nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all servers."""
        self._stack.close()

    def __getitem__(self, name: str) -> Side:
        """The side of that name; KeyError if there is none."""
        if name not in self._known:
            make: Callable[[Sides], Side] = _MAKERS[name]
            self._known[name] = make(self)
        return self._known[name]

    def start(self, server: Any) -> Any:
        """Enter a context until the end, its processes on the servers' core."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("servers end with the thread that started them")
        with on_core(SERVERS):
            return self._stack.enter_context(server)


@contextmanager
def own_cluster(**options: Any) -> Iterator[LocalCluster]:
    """A 3+3 cluster on the servers' core, with the permissions of a stack's workers."""
    with ExitStack() as stack:
        with on_core(SERVERS):
            cluster = stack.enter_context(LocalCluster(access_string=REDIS_ACCESS_STRING, **options))
        yield cluster


def cluster_side(name: str, cluster: LocalCluster, **options: Any) -> Side:
    """The cluster transport on a cluster."""
    trust = {"ssl_ca_certs": str(cluster.ca_file)} if cluster.ca_file else {}
    return Side(
        name=name,
        url=cluster.url,
        backend=cluster.url,
        primaries=tuple(node.admin for node in cluster.primaries),
        replicas=tuple(node.admin for node in cluster.replicas),
        options=trust | options,
        backend_options=trust,
    )


def _stock(sides: Sides) -> Side:
    host, port = sides.start(single_redis()).split(":")
    url = f"redis://{host}:{port}/0"
    return Side("stock", url, url, (redis.Redis(host, int(port), decode_responses=True),))


def _kept(sides: Sides) -> Side:
    stock = sides["stock"]
    return replace(stock, name="kept", url=kept_url(stock.url))


def kept_url(url: str) -> str:
    """The same server, for stock kombu that keeps its client; others stay as they are."""
    return url.replace("redis://", f"{SCHEME}://") if url.startswith("redis://") else url


def _ours(sides: Sides) -> Side:
    return cluster_side("ours", sides.start(LocalCluster(access_string=REDIS_ACCESS_STRING)))


def _durable(sides: Sides) -> Side:
    return replace(sides["ours"], name="durable", options={"durable_replicas": 1})


def _split(sides: Sides) -> Side:
    split = replace(sides["ours"], name="split")
    return replace(split, options={"partitions": {split.queue: PARTS}})


def _tls(sides: Sides) -> Side:
    return cluster_side("tls", sides.start(LocalCluster(access_string=REDIS_ACCESS_STRING, tls=True)))


_MAKERS: dict[str, Callable[[Sides], Side]] = {
    "stock": _stock,
    "kept": _kept,
    "ours": _ours,
    "durable": _durable,
    "split": _split,
    "tls": _tls,
}
