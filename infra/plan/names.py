"""Every name that this stack gives in AWS, and AWS's limits on them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

PROJECT: Final = "celery-fleet"
#: ElastiCache: replication group, user and user group ids.
MAX_REDIS_ID: Final = 40
MAX_ROLE: Final = 64
#: The topic of alarms and events.
ALARM_TOPIC: Final = "alarms"
#: Parts of the stack that are no queues; their names in AWS would be the same.
RESERVED_PARTS: Final = frozenset(
    {ALARM_TOPIC, "beat", "cluster", "events", "exec", "flow", "flower", "image", "letters", "monitor", "network"}
    | {"publisher", "redis", "service", "stack"}
)
_QUEUE: Final = re.compile(r"[a-z](?:[_-]?[a-z0-9])*")
_STACK: Final = re.compile(r"[a-z](?:-?[a-z0-9])*")
#: Secrets Manager appends a hyphen and six characters to the ARN; a name that ends so confuses partial ARNs.
_SECRET_SUFFIX: Final = re.compile(r"-[A-Za-z0-9]{6}$")


@dataclass(frozen=True)
class RedisNames:
    """What belongs to one Redis cluster.

    Attributes:
        group: Id of the replication group, and of the group of its users.
        user: Id and name of the user that the services are; IAM wants both to be the same.
        nobody: Id of its user called `default`, which is shut.
        part: What it is called in names of log groups, secrets and alarms.
    """

    group: str
    user: str
    nobody: str
    part: str


@dataclass(frozen=True)
class Names:
    """Names of one stack's resources.

    Attributes:
        stack: The Pulumi stack's name.
    """

    stack: str

    @property
    def prefix(self) -> str:
        """Project and stack: unique in the account, lower case, hyphens only."""
        return f"{PROJECT}-{self.stack}"

    def of(self, part: str) -> str:
        """Name of a part of the stack, e.g. an alarm, a service or a topic."""
        return f"{self.prefix}-{hyphens(part)}"

    def role(self, service: str, kind: str) -> str:
        """Name of an IAM role.

        Raises:
            ValueError: If it is longer than AWS allows.
        """
        name = f"{self.of(service)}-{kind}"
        if len(name) > MAX_ROLE:
            raise ValueError(f"role name {name!r} has {len(name)} characters; AWS allows {MAX_ROLE}")
        return name

    def log_group(self, part: str) -> str:
        """Name of a log group."""
        return f"/{PROJECT}/{self.stack}/{hyphens(part)}"

    def vended_log_group(self, part: str) -> str:
        """Name of a log group that an AWS service writes to.

        The prefix keeps the account's log resource policy, which has a size limit, from growing with every group.
        """
        return f"/aws/vendedlogs/{PROJECT}/{self.stack}/{hyphens(part)}"

    @property
    def log_prefixes(self) -> tuple[str, ...]:
        """How the names of all log groups of the stack start."""
        return self.log_group(""), self.vended_log_group("")

    def secret(self, part: str) -> str:
        """Name of a secret.

        Raises:
            ValueError: If it ends in a hyphen and six characters.
        """
        name = f"{PROJECT}/{self.stack}/{part}"
        if _SECRET_SUFFIX.search(name):
            raise ValueError(f"secret name {name!r} must not end in a hyphen and six characters")
        return name

    @property
    def redis(self) -> RedisNames:
        """The broker's cluster."""
        return RedisNames(self.prefix, self.of("workers"), self.of("default"), "redis")

    @property
    def redis_results(self) -> RedisNames:
        """The cluster of the results, where they have one of their own."""
        return RedisNames(self.of("results"), self.of("results"), self.of("nobody"), "redis-results")


def hyphens(name: str) -> str:
    """Return `name` in the alphabet that every AWS service accepts: lower case, digits, hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def check_stack(stack: str) -> str:
    """Return the stack's name if every name made from it is valid.

    Raises:
        ValueError: Says how long the name may be or what it may contain.
    """
    if not _STACK.fullmatch(stack):
        raise ValueError(f"{stack!r} must be of small letters, digits and single hyphens, with a letter first")
    names = Names(stack)
    ids = [name for redis in (names.redis, names.redis_results) for name in (redis.group, redis.user, redis.nobody)]
    longest = max(map(len, ids))
    if longest > MAX_REDIS_ID:
        room = len(stack) - (longest - MAX_REDIS_ID)
        raise ValueError(f"{stack!r} is too long for ElastiCache's {MAX_REDIS_ID} characters; at most {room}")
    return stack


def check_queue(name: str, stack: str, queues: Collection[str]) -> str:
    """Return a queue's name if every name made from it is valid and no other queue of `queues` gets the same ones.

    Raises:
        ValueError: Says what it may be instead.
    """
    if not _QUEUE.fullmatch(name):
        raise ValueError(
            f"{name!r} must be of small letters and digits, with a letter first and single _ or - between them"
        )
    part = hyphens(name)
    if part in RESERVED_PARTS or part.startswith("redis-") or part.endswith("-scale-out"):
        raise ValueError(f"{name!r} is taken: the stack calls something else so; take another name")
    room = MAX_ROLE - len(Names(stack).of("")) - len("-execution")
    if len(part) > room:
        raise ValueError(f"{name!r} has {len(part)} characters; its roles' names leave room for {room}")
    for other in sorted(set(queues) - {name}):
        if hyphens(other) == part:
            raise ValueError(f"{name!r} and {other!r} are both called {part} in AWS; rename one")
        if _short(other) == _short(name):
            raise ValueError(f"{name!r} and {other!r} would both get the tasks of shop.{_short(name)}; rename one")
    return name


def _short(name: str) -> str:
    return name.removesuffix("_queue")


def redis_nodes(group: str, shards: int, replicas: int) -> tuple[str, ...]:
    """Return the node ids under which CloudWatch keeps ElastiCache's metrics: `<group>-0001-001`."""
    return tuple(f"{group}-{shard:04d}-{node:03d}" for shard in range(1, shards + 1) for node in range(1, replicas + 2))
