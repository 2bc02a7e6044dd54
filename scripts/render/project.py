"""Pulumi's project and stack files, read as the CLI reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]


class ProjectError(Exception):
    """A file of the project cannot be read as Pulumi reads it."""


class UnknownStackError(ProjectError):
    """There is no stack file of that name."""


def project() -> dict[str, Any]:
    """Return Pulumi.yaml."""
    return _read("Pulumi.yaml")


def _read(name: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load((ROOT / name).read_text()) or {}
    except yaml.YAMLError as error:
        raise ProjectError(f"{name} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("config") or {}, dict):
        raise ProjectError(f"{name} and the config in it must be mappings of keys to values")
    return document


def stacks() -> list[str]:
    """Return the names of the stacks that have a file."""
    return sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))


def stack_config(stack: str, overrides: Mapping[str, Any] | None = None) -> tuple[dict[str, str], list[str]]:
    """Return a stack's configuration as the program gets it.

    Args:
        stack: The stack's name.
        overrides: Laid over the stack file's `celery-fleet:fleet`, e.g. `{"redis": {"shards": 4}}`; a value that is
            no mapping replaces it.

    Returns:
        Full key -> string (JSON unless it is a string), and the keys that are secret.

    Raises:
        UnknownStackError: Names the stacks that exist.
        ProjectError: Pulumi.yaml or the stack's file is malformed.
    """
    if stack not in stacks():
        raise UnknownStackError(f"there is no stack {stack!r}; known stacks: {', '.join(stacks())}")
    name = project()["name"]
    values: dict[str, Any] = {}
    for key, value in (project().get("config") or {}).items():
        declared = isinstance(value, dict) and ("default" in value or "value" in value)
        values[_full(name, key)] = value.get("value", value.get("default")) if declared else value
    file = _read(f"Pulumi.{stack}.yaml")
    values |= {_full(name, key): value for key, value in (file.get("config") or {}).items()}
    if overrides is not None:
        key = f"{name}:fleet"
        values[key] = _merge(values.get(key), overrides)
    secret = [key for key, value in values.items() if _has_secret(value)]
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}, secret


def _full(name: str, key: str) -> str:
    return key if ":" in key else f"{name}:{key}"


def _merge(below: Any, over: Any) -> Any:
    if not (isinstance(below, Mapping) and isinstance(over, Mapping)):
        return over
    return {**below, **{key: _merge(below.get(key), value) for key, value in over.items()}}


def _has_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return "secure" in value or any(map(_has_secret, value.values()))
    return isinstance(value, list) and any(map(_has_secret, value))
