"""Checks parameters against the AWS API's own model, further than botocore does before sending."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

#: Python's expressions know neither classes such as \p{Print} nor surrogates.
_FOREIGN = ("\\p{", "\\uD", "\\ud")


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def problems(service: str, operation: str, params: dict[str, Any]) -> list[str]:
    """Return what AWS would refuse: unknown keys, types, missing keys, enums, patterns, ranges."""
    shape = _model(service).operation_model(operation).input_shape
    if shape is None:
        return [f"{operation} takes no parameters"] if params else []
    report = ParamValidator().validate(params, shape).generate_report()
    return [*filter(None, report.split("\n")), *_values(shape, params, operation)]


def _values(shape: Shape, value: Any, path: str) -> list[str]:
    # A value of a wrong type is reported by botocore's own validator.
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return [
            problem
            for key, inner in value.items()
            if key in shape.members
            for problem in _values(shape.members[key], inner, f"{path}.{key}")
        ]
    if isinstance(shape, ListShape) and isinstance(value, list):
        sizes = _range(shape, len(value), path)
        return sizes + [p for i, inner in enumerate(value) for p in _values(shape.member, inner, f"{path}[{i}]")]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return [p for key, inner in value.items() for p in _values(shape.value, inner, f"{path}.{key}")]
    if isinstance(value, str):
        found = _range(shape, len(value), path)
        if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
            found.append(f"{path}: {value!r} is none of {shape.enum}")
        pattern = shape.metadata.get("pattern")
        if pattern and not any(part in pattern for part in _FOREIGN) and not re.fullmatch(_python(pattern), value):
            found.append(f"{path}: {value!r} does not match {pattern}")
        return found
    return _range(shape, value, path) if isinstance(value, int | float) and not isinstance(value, bool) else []


def _range(shape: Shape, number: float, path: str) -> list[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and number < low) or (high is not None and number > high):
        return [f"{path}: {number} is not within {low} and {high}"]
    return []


def _python(pattern: str) -> str:
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: re.escape(chr(int(match[1], 16))), pattern)


def pascal(value: Any) -> Any:
    """Return a resource's inputs with keys as most AWS APIs write them."""
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: pascal(inner) for key, inner in value.items()}
    return [pascal(inner) for inner in value] if isinstance(value, list) else value
