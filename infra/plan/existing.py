"""What subnets must be that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Subnet:
    """A subnet as AWS describes it.

    Attributes:
        id: Its id.
        vpc_id: Its VPC.
        zone: Its availability zone.
        public: Whether it gives out public addresses.
    """

    id: str
    vpc_id: str
    zone: str
    public: bool


def check_subnets(vpc_id: str, subnets: Sequence[Subnet]) -> list[str]:
    """Return the ids of `subnets` if tasks, Redis and endpoints can live there.

    Raises:
        ValueError: Names everything that is wrong, by its path in the configuration.
    """
    problems = []
    for index, subnet in enumerate(subnets):
        where = f"network.subnetIds.{index}: {subnet.id}"
        if subnet.vpc_id != vpc_id:
            problems.append(f"{where} belongs to {subnet.vpc_id}, not to vpcId {vpc_id}")
        if subnet.public:
            problems.append(f"{where} gives out public addresses; take a private subnet")
        # An interface endpoint takes one subnet a zone.
        if subnet.zone in [earlier.zone for earlier in subnets[:index]]:
            problems.append(f"{where} is a second one in {subnet.zone}; take one subnet a zone")
    if problems:
        raise ValueError("\n".join(problems))
    return [subnet.id for subnet in subnets]
