"""What AWS says about ElastiCache nodes."""

from __future__ import annotations

from typing import Final

#: Bytes: "Redis OSS node-type specific parameters" in the ElastiCache user guide; the family's sizes in one line.
_SIZES: Final = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_M: Final = (6854542746, 13891921715, 27966669210, 56116178125, 111325552312, 168715971994, 225000375228)
_R: Final = (14037181030, 28261849702, 56711183565, 113609865216, 225000375228, 341206346547, 450000750456)
MAXMEMORY: Final[dict[str, int]] = {
    "cache.t4g.micro": 536870912,
    "cache.t4g.small": 1471026299,
    "cache.t4g.medium": 3317862236,
    **{
        f"cache.m{generation}.{size}": memory
        for generation in ("6g", "7g")
        for size, memory in zip(_SIZES, _M, strict=True)
    },
    **{
        f"cache.r{generation}.{size}": memory
        for generation in ("6g", "7g")
        for size, memory in zip(_SIZES, _R, strict=True)
    },
}
#: Share of maxmemory that `reserved-memory-percent` keeps from data; 25 % unless the parameter group says otherwise.
RESERVED: Final = 0.25

#: Share of one core that a burstable node can use for ever: CPU credits an hour divided by 60 (EC2 user guide).
BASELINE: Final = {"cache.t4g.micro": 0.2, "cache.t4g.small": 0.4, "cache.t4g.medium": 0.4}


class UnknownNodeTypeError(ValueError):
    """Nobody has written down what this node type has."""


def maxmemory(node_type: str) -> int:
    """Bytes of a node before the reserve.

    Raises:
        UnknownNodeTypeError: It is not in the table.
    """
    if node_type not in MAXMEMORY:
        raise UnknownNodeTypeError(f"the memory of {node_type} is not known: add it to {__name__} (MAXMEMORY)")
    return MAXMEMORY[node_type]


def core_share(node_type: str) -> float:
    """Share of one core that the engine's thread can have for ever."""
    return BASELINE.get(node_type, 1.0)
