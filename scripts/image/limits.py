"""What the kernel's control groups were told about a container, beside what its task definition says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_MIB: Final = 1024 * 1024
_PERIOD: Final = 100_000


@dataclass(frozen=True)
class Limit:
    """One limit of a container.

    Attributes:
        name: For people.
        files: Where version 1 and version 2 of the control groups keep it, below /sys/fs/cgroup.
        expected: Definition of task and container -> the text of either file.
    """

    name: str
    files: tuple[str, str]
    expected: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[str, str]]


def _weight(shares: int) -> int:
    # How runc turns shares, 2 to 262144, into a weight, 1 to 10000.
    return 1 + (shares - 2) * 9999 // 262142


def _both(number: int) -> tuple[str, str]:
    return str(number), str(number)


LIMITS: Final = (
    Limit(
        "memory",
        ("memory/memory.limit_in_bytes", "memory.max"),
        lambda _, container: _both(container["memory"] * _MIB),
    ),
    Limit(
        "memory reservation",
        ("memory/memory.soft_limit_in_bytes", "memory.low"),
        lambda _, container: _both(container["memoryReservation"] * _MIB),
    ),
    Limit(
        "cpu share",
        ("cpu/cpu.shares", "cpu.weight"),
        lambda _, container: (str(container["cpu"]), str(_weight(container["cpu"]))),
    ),
    Limit(
        "cpu of the task",
        ("cpu/cpu.cfs_quota_us", "cpu.max"),
        lambda task, _: (
            str(int(task["cpu"]) * _PERIOD // 1024),
            f"{int(task['cpu']) * _PERIOD // 1024} {_PERIOD}",
        ),
    ),
)


def judge(task: Mapping[str, Any], read: Callable[[str], str | None]) -> tuple[list[str], list[str]]:
    """Compare a running container's limits with its definition.

    Args:
        task: The task definition.
        read: Returns the content of a file in the container, None if it does not exist.

    Returns:
        Sentences about limits that differ, and names of those for which this kernel has no control group.
    """
    (container,) = task["containerDefinitions"]
    wrong, missing = [], []
    for limit in LIMITS:
        contents = [read(f"/sys/fs/cgroup/{file}") for file in limit.files]
        found = [(have, want) for have, want in zip(contents, limit.expected(task, container), strict=True) if have]
        if not found:
            missing.append(limit.name)
        wrong += [f"{limit.name}: {have.strip()}, not {want}" for have, want in found if have.strip() != want]
    return wrong, missing
