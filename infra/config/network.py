"""The configuration of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from infra.config.fields import Section, matching
from infra.plan.cidr import MAX_ZONES, check_network, check_range
from infra.plan.egress import TLS_PORT, closed_ports
from infra.plan.endpoints import GATEWAYS

Cidr = Annotated[str, AfterValidator(check_range)]
VpcId = Annotated[str, matching(r"vpc-[0-9a-f]{8,17}", "the id of a VPC")]
SubnetId = Annotated[str, matching(r"subnet-[0-9a-f]{8,17}", "the id of a subnet")]
RouteTableId = Annotated[str, matching(r"rtb-[0-9a-f]{8,17}", "the id of a route table")]
Account = Annotated[str, matching(r"\d{12}", "an AWS account's twelve digits, in quotes")]
#: EC2's alphabet for the description of a rule.
Description = Annotated[
    str, matching(r"[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", "a description of 1 to 255 plain characters")
]


def _destination(to: str) -> str:
    if to.startswith(("sg-", "pl-")):
        return to
    return check_range(to)


def _interface(service: str) -> str:
    if service in GATEWAYS:
        raise ValueError(f"{service!r} has a gateway endpoint already; leave it out")
    return service


Service = Annotated[
    str,
    matching(r"[a-z0-9]+([.-][a-z0-9]+)*", "a service as AWS names its endpoint, such as sqs or ecs-agent"),
    AfterValidator(_interface),
]


class Egress(Section):
    """Where tasks may connect to, beside TLS to `egressCidrs`.

    Attributes:
        to: An IPv4 range, a security group (`sg-…`) or a prefix list (`pl-…`).
        port: TCP port.
        description: What is there, shown beside the rule.
    """

    to: Annotated[
        str,
        matching(r"(sg|pl)-[0-9a-f]{8,17}|\d+(\.\d+){3}/\d+", "an IPv4 range, a security group or a prefix list"),
        AfterValidator(_destination),
    ]
    port: int = Field(ge=1, le=65535)
    description: Description


class Network(Section):
    """The private network: one of our own, or subnets that exist.

    Attributes:
        vpc_id: A VPC that exists; none to make one.
        subnet_ids: Private subnets of it, one a zone.
        route_table_ids: Their route tables, to add gateway endpoints for S3 and DynamoDB; none if they are there.
        cidr: Our own VPC's addresses, /16 to /22.
        zones: Availability zones of our own VPC.
        nat: How tasks leave: one NAT gateway, one in every zone, none (endpoints only), or as the VPC has it.
        egress_cidrs: Where tasks may open TLS connections beside AWS' endpoints.
        egress: What else they may connect to.
        endpoints: Interface endpoints beside those that `nat: none` needs.
        accounts: Other accounts whose buckets and tables tasks may use.
    """

    vpc_id: VpcId | None
    subnet_ids: tuple[SubnetId, ...]
    route_table_ids: tuple[RouteTableId, ...]
    cidr: Annotated[str, AfterValidator(check_network)]
    zones: int = Field(ge=2, le=MAX_ZONES)
    nat: Literal["single", "per-zone", "none", "existing"]
    egress_cidrs: tuple[Cidr, ...]
    egress: tuple[Egress, ...]
    endpoints: tuple[Service, ...]
    accounts: tuple[Account, ...]

    @field_validator("subnet_ids")
    @classmethod
    def _with_vpc(cls, ids: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "vpc_id" not in info.data:
            return ids
        if info.data["vpc_id"] is None and ids:
            raise ValueError("these subnets need vpcId, the VPC that they belong to")
        if info.data["vpc_id"] is not None and not 2 <= len(set(ids)) == len(ids):
            raise ValueError(f"{len(set(ids))} subnets are too few or named twice; at least 2 of vpcId, one a zone")
        return ids

    @field_validator("route_table_ids")
    @classmethod
    def _of_vpc(cls, ids: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if ids and info.data.get("vpc_id", "") is None:
            raise ValueError("belongs to an existing VPC; name it in vpcId or leave this out")
        return ids

    @field_validator("nat")
    @classmethod
    def _ours(cls, nat: str, info: ValidationInfo) -> str:
        if "vpc_id" not in info.data:
            return nat
        if info.data["vpc_id"] is None and nat == "existing":
            raise ValueError("'existing' needs vpcId; valid without it: single, per-zone, none")
        if info.data["vpc_id"] is not None and nat not in ("existing", "none"):
            raise ValueError(
                f"{nat!r} makes NAT gateways, but {info.data['vpc_id']} is not ours; valid: existing, none"
            )
        return nat

    @field_validator("egress_cidrs")
    @classmethod
    def _way_out(cls, cidrs: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("nat") == "none" and "0.0.0.0/0" in cidrs:
            raise ValueError("0.0.0.0/0 has no way out with nat none; leave it out, or take nat single or per-zone")
        return cidrs

    @field_validator("egress")
    @classmethod
    def _to_aws(cls, egress: tuple[Egress, ...], info: ValidationInfo) -> tuple[Egress, ...]:
        cidrs, nat = info.data.get("egress_cidrs"), info.data.get("nat")
        if nat in ("single", "per-zone", "existing") and cidrs == () and not any(e.port == TLS_PORT for e in egress):
            raise ValueError(f"nothing opens port {TLS_PORT}, over which tasks reach AWS' APIs; nor does egressCidrs")
        return egress


def network_defaults(base: Mapping[str, Any], written: object) -> dict[str, Any]:
    """Return the defaults of this section as they follow from what the stack file says of it."""
    own = dict(base)
    if isinstance(written, Mapping):
        if written.get("vpcId") is not None:
            own["nat"] = "existing"
        if written.get("nat", own["nat"]) == "none":
            own["egressCidrs"] = []
    return own


def network_problems(document: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    """Return what no single value shows.

    Args:
        document: What the stack file says.
        whole: The same with defaults; it may be wrong elsewhere.
    """
    written, network = document.get("network"), whole.get("network")
    if not isinstance(network, Mapping):
        return []
    problems = [
        f"network.{key}: {network['vpcId']} has its own; leave it out with vpcId"
        for key in ("cidr", "zones")
        if isinstance(written, Mapping) and network.get("vpcId") is not None and key in written
    ]
    entries = network.get("egress")
    ports: set[int] = {
        entry["port"]
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping) and isinstance(entry.get("port"), int)
    }
    if network.get("egressCidrs"):
        ports.add(TLS_PORT)
    waits = whole.get("waitFor")
    for index, address in enumerate(waits if isinstance(waits, list) else ()):
        try:
            closed = closed_ports(address, ports)
        except (ValueError, AttributeError, TypeError):
            # The address itself is wrong, which its own check says.
            continue
        problems += [
            f"waitFor.{index}: {address} is behind port {port}, which nothing opens; add to network.egress: "
            f"{{to: a range or security group, port: {port}, description: …}}"
            for port in closed
        ]
    return problems
