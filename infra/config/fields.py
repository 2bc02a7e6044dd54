"""What the sections of the configuration are made of."""

from __future__ import annotations

import re

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from pydantic.alias_generators import to_camel


class Section(BaseModel):
    """A part of the configuration: keys in camelCase, unknown keys refused, no type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


def matching(pattern: str, wanted: str) -> AfterValidator:
    """Return a validator of text: the whole of it matches `pattern`, which is `wanted` in words."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{value!r} is not {wanted}")
        return value

    return AfterValidator(check)


def at_most(value: int, info: ValidationInfo, field: str, unit: str) -> int:
    """Return `value`, which may not exceed the field above it called `field`.

    Raises:
        ValueError: If it does.
    """
    limit: int | None = info.data.get(field)
    if limit is not None and value > limit:
        raise ValueError(f"{value} is more than {to_camel(field)} {limit}; at most {limit} {unit}")
    return value


def at_least(value: int, info: ValidationInfo, field: str) -> int:
    """Return `value`, which may not be below the field above it called `field`.

    Raises:
        ValueError: If it is.
    """
    limit: int | None = info.data.get(field)
    if limit is not None and value < limit:
        raise ValueError(f"{value} is less than {to_camel(field)} {limit}; at least {limit}")
    return value
