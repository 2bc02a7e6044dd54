"""kombu's transport: one connection to the cluster."""

from __future__ import annotations

from typing import Any

import redis
from kombu.transport import virtual

from .channel import Channel
from .errors import CONNECTION_ERRORS
from .options import DEFAULT_PORT, masked, parse
from .receiver import Receiver
from .session import Session, session_for


def session_of(client: Any) -> Session:
    """The session of this process with the cluster of a kombu connection.

    Raises:
        ConfigurationError: The URL or an option is wrong.
    """
    given = client.ssl if isinstance(client.ssl, dict) else {}
    tls = {k: given[k] for k in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname") if k in given}
    return session_for(parse(client.hostname, client.transport_options, **tls))


class Transport(virtual.Transport):
    """Messages on a Redis Cluster. Register the URL schemes by importing the package."""

    Channel = Channel
    can_parse_url = True
    default_port = DEFAULT_PORT
    # Celery decides on it whether fanout events, mingle, gossip and worker_disable_prefetch work.
    driver_type = "redis"
    driver_name = "rediscluster"
    connection_errors = CONNECTION_ERRORS
    recoverable_connection_errors = CONNECTION_ERRORS
    recoverable_channel_errors = ()
    channel_errors = (*virtual.Transport.channel_errors, redis.exceptions.ResponseError, redis.exceptions.DataError)
    implements = virtual.Transport.implements.extend(
        asynchronous=True, exchange_type=frozenset({"direct", "topic", "fanout"})
    )

    _avail_channels: list[Any]

    def __init__(self, client: Any, **kwargs: Any) -> None:
        """Validate the URL and the options.

        Raises:
            ConfigurationError: One of them is wrong.
        """
        super().__init__(client, **kwargs)
        self.session = session_of(client)
        self.receiver = Receiver(self.session)
        #: Milliseconds after which temporary queues go away unused, by name.
        self.expires: dict[str, int] = {}
        #: Stream, place in it and routing key of fanout queues, by name.
        self.fanout_cursors: dict[str, tuple[str, str, str]] = {}
        self._loop: Any = None

    def driver_version(self) -> str:
        """The version of redis-py."""
        return str(redis.__version__)

    def establish_connection(self) -> Any:
        """Prove that the cluster is there and knows us.

        Raises:
            ClusterUnavailableError: No node answered.
            ConfigurationError: The address is not a cluster, the credentials are wrong, or a server is too old.
        """
        self.session.connect()
        return super().establish_connection()

    def close_connection(self, connection: Any) -> None:
        """Close the channels and stop consuming."""
        for channels in self._avail_channels, self.channels or []:
            while channels:
                channels.pop().close()
        if self._loop is not None:
            self._loop.remove_reader(self.receiver.bell.fileno)
            self._loop = None
        self.receiver.close()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Let an event loop deliver."""
        self._loop = loop
        self.receiver.in_loop = True
        loop.add_reader(self.receiver.bell.fileno, self.receiver.on_readable)

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Deliver one message; raises `socket.timeout` when none comes within `timeout` seconds."""
        self.receiver.get(timeout)

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """The URL, its password masked."""
        return uri if include_password else masked(uri, mask)
