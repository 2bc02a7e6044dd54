"""The tags that every resource carries."""

from __future__ import annotations

from dataclasses import dataclass

from infra.plan.names import PROJECT


@dataclass(frozen=True)
class Tags:
    """Tags of one stack.

    Attributes:
        environment: `staging` or `prod`.
        owner: Who answers for the stack.
    """

    environment: str
    owner: str

    def of(self, name: str | None = None, queue: str | None = None) -> dict[str, str]:
        """Return the tags of one resource.

        Args:
            name: Shown as the resource's name in the console, where the service has no name of its own.
            queue: The queue that the resource belongs to, for cost per queue.
        """
        tags = {
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
