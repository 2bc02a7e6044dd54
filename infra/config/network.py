"""The configuration of the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from infra.config.fields import Section, matching
from infra.plan.cidr import MAX_ZONES, check_network

Cidr = Annotated[str, matching(r"\d+(\.\d+){3}/\d+", "an IPv4 range such as 203.0.113.0/24")]


class Network(Section):
    """The private network.

    Attributes:
        cidr: The VPC's addresses, /16 to /22.
        zones: Availability zones in use.
        nat: One NAT gateway, or one in every zone.
        egress_cidrs: Where tasks may open TLS connections beside AWS' gateway endpoints.
    """

    cidr: Annotated[str, AfterValidator(check_network)]
    zones: int = Field(ge=2, le=MAX_ZONES)
    nat: Literal["single", "per-zone"]
    egress_cidrs: tuple[Cidr, ...] = Field(min_length=1)
