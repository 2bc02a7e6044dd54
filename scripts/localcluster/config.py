"""The configuration file of one node."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from scripts.localcluster.ports import BUS_OFFSET, HOST
from scripts.localcluster.tls import Certificates

ADMIN = "admin"


@dataclass(frozen=True)
class Settings:
    """What all nodes of a cluster share.

    Attributes:
        username: The Redis user of the clients.
        password: Its password.
        access_string: Its permissions, as ElastiCache takes them.
        node_timeout_ms: Milliseconds until a silent node counts as failed.
        appendonly: Whether writes go to disk.
        movable_clocks: Whether each node has a clock of its own.
        certificates: Given if clients, replication and cluster bus use TLS.
        admin_password: Of the user `admin`, who may do everything.
    """

    username: str
    password: str
    access_string: str
    node_timeout_ms: int
    appendonly: bool
    movable_clocks: bool
    certificates: Certificates | None
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(16))


def write_config(directory: Path, port: int, settings: Settings) -> Path:
    """Write a node's configuration and its users.

    Args:
        directory: The node's own directory; it exists.
        port: The node's port; the cluster bus gets this plus 10000.
        settings: What the nodes share.

    Returns:
        The configuration file.
    """
    users = directory / "users.acl"
    users.write_text(_users(settings))
    lines = [
        f"bind {HOST}",
        f'dir "{directory}"',
        'logfile "redis.log"',
        'aclfile "users.acl"',
        f"masteruser {ADMIN}",
        f"masterauth {settings.admin_password}",
        "cluster-enabled yes",
        f"cluster-port {port + BUS_OFFSET}",
        f"cluster-announce-ip {HOST}",
        f"cluster-node-timeout {settings.node_timeout_ms}",
        # A lost shard stops its own queues only, and no replica wanders off to another shard.
        "cluster-require-full-coverage no",
        "cluster-allow-replica-migration no",
        "maxmemory-policy noeviction",
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 0",
        'save ""',
        f"appendonly {'yes' if settings.appendonly else 'no'}",
        # What was answered is on the disk.
        "appendfsync always",
        "enable-debug-command local",
        *_listener(port, settings.certificates),
    ]
    file = directory / "redis.conf"
    file.write_text("\n".join(lines) + "\n")
    return file


def _users(settings: Settings) -> str:
    users = {
        # Nobody can log in as it. Redis 7.0 reads append-only files as it, and skips transactions that it may not do.
        "default": "off ~* &* +@all",
        ADMIN: f"on >{settings.admin_password} ~* &* +@all",
        settings.username: f"{settings.access_string} >{settings.password}",
    }
    return "".join(f"user {name} {rules}\n" for name, rules in users.items())


def _listener(port: int, certificates: Certificates | None) -> list[str]:
    if certificates is None:
        return [f"port {port}"]
    return [
        "port 0",
        f"tls-port {port}",
        f'tls-ca-cert-file "{certificates.ca}"',
        f'tls-cert-file "{certificates.certificate}"',
        f'tls-key-file "{certificates.key}"',
        "tls-auth-clients no",
        "tls-replication yes",
        "tls-cluster yes",
    ]
