"""The connection URL and the transport options, validated once, before anything connects."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.credentials import CredentialProvider

from .errors import ConfigurationError

SCHEME = "rediscluster"
TLS_SCHEME = "redisclusters"
DEFAULT_PORT = 6379
#: A consumer keeps a connection for each part.
MAX_PARTITIONS = 64

#: Options of kombu itself that share the dictionary with ours.
_FOREIGN = frozenset(
    {
        "body_encoding",
        "connect_retries_timeout",
        "deadletter_queue",
        "errback",
        "interval_max",
        "interval_start",
        "interval_step",
        "max_retries",
        "polling_interval",
        "result_chord_ordered",
        "retry_policy",
    }
)


@dataclass(frozen=True)
class Options:
    """How to reach the cluster and how the transport behaves.

    Attributes:
        seeds: Hosts and ports to learn the topology from; one is enough.
        username: Redis user, or None for the default user.
        password: Its password.
        tls: Whether connections use TLS.
        key_prefix: What every key starts with.
        lease: Seconds after which the messages of a holder that does not renew go to somebody else.
        delivery_limit: A message that was lost or requeued more often than this is dead.
        dedupe_window: Seconds during which a repeated publish of the same message is recognised.
        once_window: Seconds for which it is remembered that a task with `once=True` completed.
        durable_replicas: How many replicas must confirm a publish before it counts; 0 waits for none.
        partitions: Into how many parts queues are split, by name; all processes must agree. Unnamed ones have one.
        idle_timeout: Seconds an idle consumer blocks before it looks again by itself.
        retry_deadline: Seconds during which a request is repeated while the topology changes.
        socket_timeout: Seconds to wait for a reply.
        socket_connect_timeout: Seconds to wait for a connection.
        message_limit: Bytes of a message, with its headers, above which publishing it is refused.
        fanout_length: About how many messages the stream of a fanout exchange keeps.
        fanout_expires: Seconds after which an unused fanout stream goes away.
        client_name: Stands in front of every connection's name, as CLIENT LIST shows it.
        connection_lifetime: Seconds after which a connection gives way to one that logs in anew; None: never.
        credential_provider: Source of user name and password for each connection, instead of the URL's.
        ssl_ca_certs: File with the authorities to trust; None means the system's.
        ssl_certfile: Client certificate.
        ssl_keyfile: Its key.
        ssl_check_hostname: Whether the certificate must name the host.
    """

    seeds: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    key_prefix: str = "broker:"
    lease: float = 60.0
    delivery_limit: int = 5
    dedupe_window: float = 120.0
    once_window: float = 86_400.0
    durable_replicas: int = 0
    partitions: tuple[tuple[str, int], ...] = ()
    idle_timeout: float = 10.0
    retry_deadline: float = 30.0
    socket_timeout: float = 5.0
    socket_connect_timeout: float = 3.0
    message_limit: int = 16_777_216
    fanout_length: int = 10_000
    fanout_expires: float = 3600.0
    client_name: str | None = None
    connection_lifetime: float | None = None
    credential_provider: CredentialProvider | None = field(default=None, repr=False)
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = True

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is None and name == "connection_lifetime":
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
                raise ConfigurationError(f"transport option {name}: {value!r} is not a positive number")
        if self.delivery_limit < 0:
            raise ConfigurationError(f"transport option delivery_limit: {self.delivery_limit!r} is negative")
        if self.durable_replicas < 0:
            raise ConfigurationError(f"transport option durable_replicas: {self.durable_replicas!r} is negative")
        for queue, parts in self.partitions:
            if not isinstance(parts, int) or not 1 <= parts <= MAX_PARTITIONS:
                raise ConfigurationError(
                    f"transport option partitions: {parts!r} parts of {queue!r}; expected 1 to {MAX_PARTITIONS}"
                )

    def connection_arguments(self) -> dict[str, Any]:
        """Keyword arguments of a redis-py connection to any node, without host and port."""
        arguments: dict[str, Any] = {
            # A silent node must not take so long that leases on others lapse meanwhile.
            "socket_timeout": min(self.socket_timeout, max(1.0, self.lease / 4)),
            "socket_connect_timeout": self.socket_connect_timeout,
            "socket_keepalive": True,
            "client_name": self.client_name,
            # RESP3 pushes would come between a blocking command and its reply.
            "protocol": 2,
        }
        if self.credential_provider is not None:
            arguments["credential_provider"] = self.credential_provider
        else:
            arguments |= {"username": self.username, "password": self.password}
        if self.tls:
            arguments |= {
                "ssl_ca_certs": self.ssl_ca_certs,
                "ssl_certfile": self.ssl_certfile,
                "ssl_keyfile": self.ssl_keyfile,
                "ssl_check_hostname": self.ssl_check_hostname,
                "ssl_cert_reqs": ssl.CERT_REQUIRED,
            }
        return arguments


_POSITIVE = (
    "lease",
    "dedupe_window",
    "once_window",
    "idle_timeout",
    "retry_deadline",
    "socket_timeout",
    "socket_connect_timeout",
    "message_limit",
    "fanout_length",
    "fanout_expires",
    "connection_lifetime",
)
_SETTABLE = frozenset(f.name for f in fields(Options)) - {"seeds", "username", "password", "tls"}


def parse(url: str, transport_options: Mapping[str, Any] | None = None, **overrides: Any) -> Options:
    """Validate a URL and the transport options that go with it.

    Args:
        url: `rediscluster://[user:password@]host:port[,host:port…]`, or `redisclusters://…` for TLS.
        transport_options: Options of `Options` by name, beside kombu's own.
        **overrides: Options that win over `transport_options`; None means not given.

    Raises:
        ConfigurationError: The URL or an option is wrong.
    """
    given = {k: v for k, v in (transport_options or {}).items() if k not in _FOREIGN}
    given |= {k: v for k, v in overrides.items() if v is not None}
    unknown = sorted(set(given) - _SETTABLE)
    if unknown:
        raise ConfigurationError(
            f"unknown transport option {unknown[0]!r}; the options are {', '.join(sorted(_SETTABLE))}"
        )
    if "partitions" in given:
        given["partitions"] = tuple(sorted(dict(given["partitions"]).items()))
    parts = urlsplit(url)
    if parts.scheme not in (SCHEME, TLS_SCHEME):
        raise ConfigurationError(f"URL scheme {parts.scheme!r}: expected {SCHEME}:// or {TLS_SCHEME}://")
    if parts.path.strip("/"):
        raise ConfigurationError(
            f"URL path {parts.path!r}: a cluster has database 0 only; keep applications apart by key_prefix"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError("the URL takes no query; pass options as transport options")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    return Options(
        seeds=tuple(_seed(host) for host in hosts.split(",")),
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=parts.scheme == TLS_SCHEME,
        **given,
    )


def _seed(host: str) -> tuple[str, int]:
    name, separator, port = host.rpartition(":")
    if not separator or (name.startswith("[") and not name.endswith("]")):
        name, port = host, str(DEFAULT_PORT)
    if not name:
        raise ConfigurationError("the URL names no host: expected rediscluster://host:port")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"port {port!r} of host {name!r} is not a number from 1 to 65535")
    return name.strip("[]"), int(port)


def masked(url: str, mask: str = "**") -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    if not at:
        return url
    username, colon, _ = credentials.partition(":")
    return parts._replace(netloc=f"{username}{colon}{mask if colon else ''}@{hosts}").geturl()
