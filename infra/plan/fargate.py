"""Which sizes Fargate sells."""

from __future__ import annotations

from typing import Final

#: Task cpu units (1024 are one vCPU) -> task memory sizes in MiB.
SIZES: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}

#: Longest time in seconds that Fargate waits between SIGTERM and SIGKILL.
MAX_STOP_TIMEOUT: Final = 120


def check_cpu(cpu: int) -> int:
    """Return `cpu` (units) if Fargate sells it.

    Raises:
        ValueError: Names the sizes that exist.
    """
    if cpu not in SIZES:
        raise ValueError(f"{cpu} is not a Fargate size; valid: {_list(tuple(SIZES))}")
    return cpu


def check_memory(cpu: int, memory: int) -> int:
    """Return `memory` (MiB) if Fargate sells it together with `cpu` (units).

    Raises:
        ValueError: Names the sizes that go with this cpu.
    """
    valid = SIZES[check_cpu(cpu)]
    if memory not in valid:
        raise ValueError(f"{memory} MiB is not a Fargate size; valid for cpu {cpu}: {_list(valid)}")
    return memory


def _list(sizes: tuple[int, ...]) -> str:
    if len(sizes) > 8:
        return f"{sizes[0]} to {sizes[-1]} in steps of {sizes[1] - sizes[0]}"
    return ", ".join(map(str, sizes))
