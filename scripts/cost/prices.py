"""AWS' list prices in USD, on demand, in us-east-1; the only place with prices."""

from __future__ import annotations

from typing import Final

#: When they were read from AWS' price pages, and for which region.
READ: Final = "autumn 2026, us-east-1"
#: Hours of a month, as AWS counts it.
HOURS: Final = 730

#: Fargate by architecture: a vCPU and a GB of memory for an hour. Spot is up to 70 % below.
FARGATE: Final = {"X86_64": (0.04048, 0.004445), "ARM64": (0.03238, 0.00356)}

#: ElastiCache nodes of the redis engine for an hour.
NODES: Final = {
    "cache.t4g.micro": 0.016,
    "cache.t4g.small": 0.032,
    "cache.t4g.medium": 0.065,
    "cache.m7g.large": 0.158,
    "cache.r7g.large": 0.219,
}
#: The valkey engine's share of that.
VALKEY: Final = 0.8
#: How many times a `large` the other sizes are.
SIZES: Final = {"large": 1, "xlarge": 2, "2xlarge": 4, "4xlarge": 8, "8xlarge": 16, "12xlarge": 24, "16xlarge": 32}

#: A NAT gateway, a public address of one, and an interface endpoint in one zone, for an hour.
NAT: Final = 0.045
PUBLIC_ADDRESS: Final = 0.005
ENDPOINT: Final = 0.01

#: For a month: a custom metric; an alarm, for each metric that it reads, and one with points of less than a minute; a
#: dashboard.
METRIC: Final = 0.30
ALARM: Final = 0.10
QUICK_ALARM: Final = 0.30
DASHBOARD: Final = 3.00
#: For a month: a KMS key, a secret.
KEY: Final = 1.00
SECRET: Final = 0.40


class UnknownPriceError(ValueError):
    """Nobody has written down what this costs."""


def node(node_type: str, engine: str) -> float:
    """USD an hour of an ElastiCache node.

    Args:
        node_type: Such as `cache.m7g.large`; larger sizes of a family cost in proportion.
        engine: `redis` or `valkey`.

    Raises:
        UnknownPriceError: The type is not in the table.
    """
    family, _, size = node_type.rpartition(".")
    price = NODES.get(node_type)
    if price is None and f"{family}.large" in NODES and size in SIZES:
        price = NODES[f"{family}.large"] * SIZES[size]
    if price is None:
        raise UnknownPriceError(f"the price of {node_type} is not known: add it to {__name__} (NODES)")
    return price * (VALKEY if engine == "valkey" else 1)
