"""The tags that every resource carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from infra.plan.names import PROJECT

#: What the stack itself writes.
OWN: Final = ("Project", "Environment", "Owner", "ManagedBy", "Queue", "Name")
#: AWS' limits, and the alphabet that all its services accept (S3's is the narrowest).
MAX_TAGS: Final = 50
MAX_KEY: Final = 128
MAX_VALUE: Final = 256
_ALPHABET: Final = re.compile(r"[A-Za-z0-9 _.:/=+@-]*")


def check_value(value: str) -> str:
    """Return a tag's value if AWS takes it.

    Raises:
        ValueError: Says how long it may be or what it may contain.
    """
    if len(value) > MAX_VALUE or not _ALPHABET.fullmatch(value):
        raise ValueError(f"{value!r} must be at most {MAX_VALUE} letters, digits, spaces and _ . : / = + - @")
    return value


def check_key(key: str) -> str:
    """Return a tag's key if AWS takes it and nobody else writes it.

    Raises:
        ValueError: Says what is wrong with it.
    """
    if not 1 <= len(key) <= MAX_KEY or not _ALPHABET.fullmatch(key):
        raise ValueError(f"{key!r} must be 1 to {MAX_KEY} letters, digits, spaces and _ . : / = + - @")
    if key.lower().startswith("aws:"):
        raise ValueError("AWS keeps keys that start with aws: for itself")
    # IAM does not tell upper from lower case.
    if key.lower() in [own.lower() for own in OWN]:
        raise ValueError(f"the stack sets {', '.join(OWN)} itself; take another key")
    return key


def check_all(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return `tags` if they fit on one resource together with the stack's own.

    Raises:
        ValueError: If there are too many, or two differ in upper and lower case only.
    """
    if len(tags) > MAX_TAGS - len(OWN):
        raise ValueError(f"{len(tags)} tags are too many; at most {MAX_TAGS - len(OWN)} beside the stack's own")
    if len({key.lower() for key in tags}) < len(tags):
        raise ValueError("two keys differ in upper and lower case only, which IAM does not tell apart")
    return tags


@dataclass(frozen=True)
class Tags:
    """Tags of one stack.

    Attributes:
        environment: `staging` or `prod`.
        owner: Who answers for the stack.
        more: Further tags, e.g. for cost allocation.
    """

    environment: str
    owner: str
    more: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str | None = None, queue: str | None = None) -> dict[str, str]:
        """Return the tags of one resource.

        Args:
            name: Shown as the resource's name in the console, where the service has no name of its own.
            queue: The queue that the resource belongs to, for cost per queue.
        """
        tags = {
            **self.more,
            "Project": PROJECT,
            "Environment": self.environment,
            "Owner": self.owner,
            "ManagedBy": "pulumi",
        }
        if queue is not None:
            tags["Queue"] = queue
        if name is not None:
            tags["Name"] = name
        return tags
