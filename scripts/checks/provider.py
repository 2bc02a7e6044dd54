"""Every input is known to the provider: its name, its type, what is required, how it nests.

Pulumi's engine would ask the provider during a preview; here the schema answers that `scripts.schema` made.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from pulumi import _types
from pulumi.runtime import rpc

from scripts.checks.problem import Checks, Problem, at
from scripts.render import Render, Resource

#: Where `scripts/setup.sh schema` puts it.
SCHEMA: Final = Path(sys.prefix) / "aws-provider-schema.json"

#: Names that the bridge gives anew: (Terraform type, Pulumi's name) -> Terraform's name.
_RENAMED: Final = {
    ("cloudwatch_metric_alarm", "name"): "alarm_name",
    ("cloudwatch_metric_alarm", "metric_queries"): "metric_query",
    ("sns_topic_subscription", "topic"): "topic_arn",
}
#: Text in Terraform, so that it can be left open; the bridge takes what it stands for.
_TYPED_BY_THE_BRIDGE: Final = frozenset(
    {
        ("appautoscaling_scheduled_action", "max_capacity"),
        ("appautoscaling_scheduled_action", "min_capacity"),
        ("elasticache_replication_group", "at_rest_encryption_enabled"),
        ("elasticache_replication_group", "auto_minor_version_upgrade"),
    }
)
#: Lists in Terraform that take one block at most, which the schema does not say: the bridge takes the block alone.
_ONE_AT_MOST: Final = frozenset(
    {
        ("s3_bucket_lifecycle_configuration", "abort_incomplete_multipart_upload"),
        ("s3_bucket_lifecycle_configuration", "expiration"),
        ("s3_bucket_lifecycle_configuration", "filter"),
        ("s3_bucket_lifecycle_configuration", "noncurrent_version_expiration"),
    }
)


class SchemaMissingError(Exception):
    """The extracted schema is not there."""


@cache
def schema() -> dict[str, Any]:
    """Return the provider's schema; see `scripts.schema`.

    Raises:
        SchemaMissingError: Says how to get it.
    """
    if not SCHEMA.is_file():
        raise SchemaMissingError(f"{SCHEMA} is missing: run scripts/setup.sh schema")
    document: dict[str, Any] = json.loads(SCHEMA.read_text())
    return document


def terraform_type(token: str) -> str | None:
    """Return Terraform's name of the Pulumi type `token` without `aws_`, None if there is none."""
    _, module, name = token.split(":")
    kind = snake(name)
    for found in (f"{module.partition('/')[0]}_{kind}", kind):
        if found in schema()["resources"]:
            return found
    return None


def snake(name: str) -> str:
    """Return a camelCase name with underscores."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def takes_tags(token: str) -> bool:
    """Return whether resources of the AWS type `token` can be tagged."""
    kind = terraform_type(token)
    return kind is not None and "tags" in schema()["blocks"][schema()["resources"][kind]]


def _aws(render: Render) -> Iterator[Problem]:
    for resource in render.resources:
        if not resource.type.startswith("aws:"):
            continue
        kind = terraform_type(resource.type)
        if kind is None:
            yield at(resource, "", f"the provider {schema()['version']} has no such resource")
        else:
            yield from _block(resource, kind, schema()["resources"][kind], resource.inputs, "")


def _block(resource: Resource, kind: str, name: str, value: dict[str, Any], path: str) -> Iterator[Problem]:
    block = schema()["blocks"][name]
    given = set()
    for key, inner in value.items():
        here = f"{path}.{key}" if path else key
        attribute = _attribute(kind, block, key)
        if attribute is None:
            yield at(resource, here, f"unknown to the provider; known here: {', '.join(sorted(block))}")
            continue
        given.add(attribute)
        yield from _value(resource, kind, attribute, block[attribute][0], inner, here)
    for attribute, (_, required) in block.items():
        # Pulumi makes up a name where none is given.
        if required and attribute not in given and attribute != "name":
            yield at(resource, path, f"{attribute} is required and missing")


def _attribute(kind: str, block: dict[str, Any], key: str) -> str | None:
    """Return Terraform's name for Pulumi's `key`: snake case, and singular where Pulumi has the plural of a list."""
    name = snake(key)
    candidates = [_RENAMED.get((kind, name)), name]
    for plural, singular in (("ies", "y"), ("es", ""), ("s", "")):
        if name.endswith(plural):
            candidates.append(name.removesuffix(plural) + singular)
    return next((found for found in candidates if found in block), None)


def _value(resource: Resource, kind: str, attribute: str, wanted: str, value: Any, path: str) -> Iterator[Problem]:
    if (kind, attribute) in _ONE_AT_MOST:
        wanted = wanted.removeprefix("list ")
    shape, _, inner = wanted.partition(" ")
    if shape == "list" and isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _value(resource, kind, attribute, inner, entry, f"{path}[{index}]")
    elif shape == "map" and isinstance(value, dict):
        for key, entry in value.items():
            yield from _value(resource, kind, attribute, inner, entry, f"{path}.{key}")
    # A block of which the provider takes one at most stands without a list.
    elif wanted in schema()["blocks"] and isinstance(value, dict):
        yield from _block(resource, kind, wanted, value, path)
    elif not _is(wanted, value) and not (isinstance(value, int) and (kind, attribute) in _TYPED_BY_THE_BRIDGE):
        yield at(resource, path, f"{value!r} is not a {'list' if shape == 'list' else wanted.rpartition('.')[2]}")


def _is(wanted: str, value: Any) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case _:
            return wanted == "any"


def _others(render: Render) -> Iterator[Problem]:
    """The other providers' SDKs are generated from their schemas and check nothing when a program runs."""
    for resource in render.resources:
        if resource.component or resource.type.startswith("aws:"):
            continue
        cls = _sdk_class(resource.type)
        if cls is None:
            yield at(resource, "", "no installed SDK has such a resource")
        else:
            yield from _args(resource, _args_class(cls), resource.inputs, "")


def _sdk_class(token: str) -> type | None:
    package, module, _ = token.split(":")
    importlib.import_module(f"pulumi_{package}")
    found: Any = rpc.get_resource_module(package, module, "")
    if found is None or token not in found.mod_info["classes"]:
        return None
    cls: type = getattr(importlib.import_module(found.mod_info["fqn"]), found.mod_info["classes"][token])
    return cls


def _args_class(cls: type) -> type:
    args: type = getattr(sys.modules[cls.__module__], f"{cls.__name__}Args")
    return args


def _args(resource: Resource, args: type, value: dict[str, Any], path: str) -> Iterator[Problem]:
    names = _types.input_type_py_to_pulumi_names(args)
    known = _types.input_type_types(args)
    for key, inner in value.items():
        here = f"{path}.{key}" if path else key
        if key not in known:
            yield at(resource, here, f"unknown to the provider; known here: {', '.join(sorted(known))}")
        elif isinstance(inner, dict):
            for nested in _args_in(known[key]):
                yield from _args(resource, nested, inner, here)
    for name, parameter in inspect.signature(args).parameters.items():
        if parameter.default is parameter.empty and names[name] not in value:
            yield at(resource, path, f"{names[name]} is required and missing")


def _args_in(hint: Any) -> list[type]:
    """Return the classes of nested arguments that `hint` allows."""
    if isinstance(hint, type) and hint.__name__.endswith("Args"):
        return [hint]
    return [found for inner in typing.get_args(hint) for found in _args_in(inner)]


CHECKS: Final[Checks] = {"provider.aws": _aws, "provider.others": _others}
