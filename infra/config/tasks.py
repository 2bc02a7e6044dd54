"""The configuration of tasks on Fargate: their sizes."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from infra.config.fields import Section, at_most
from infra.plan.fargate import check_cpu, check_memory


class Task(Section):
    """Size of a Fargate task and of the container in it.

    Attributes:
        cpu: Task's cpu units, 1024 are one vCPU; the container's limit.
        memory: Task's memory in MiB.
        container_cpu: Guaranteed cpu units; default half of `cpu`.
        container_memory: MiB above which the container is killed; default half of `memory`.
        memory_reservation: MiB that are guaranteed; default a quarter of `memory`.
    """

    cpu: Annotated[int, AfterValidator(check_cpu)]
    memory: int
    container_cpu: int = Field(default=0, ge=1)
    container_memory: int = Field(default=0, ge=6)
    memory_reservation: int = Field(default=0, ge=6)

    @field_validator("memory")
    @classmethod
    def _sold(cls, memory: int, info: ValidationInfo) -> int:
        return check_memory(info.data["cpu"], memory) if "cpu" in info.data else memory

    @field_validator("container_cpu")
    @classmethod
    def _cpu_fits(cls, value: int, info: ValidationInfo) -> int:
        return at_most(value, info, "cpu", "units")

    @field_validator("container_memory")
    @classmethod
    def _memory_fits(cls, value: int, info: ValidationInfo) -> int:
        return at_most(value, info, "memory", "MiB")

    @field_validator("memory_reservation")
    @classmethod
    def _reservation_fits(cls, value: int, info: ValidationInfo) -> int:
        return at_most(value, info, "container_memory", "MiB")
