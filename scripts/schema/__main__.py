"""Extracts the AWS provider's schema from the bindings of another language, the only place where PyPI has it.

`python -m scripts.schema WHEEL FILE` reads the wheel of cdktn-provider-aws, whose archive in the archive
describes every resource of the Terraform provider that pulumi-aws is a bridge to, and writes FILE, which
`scripts.checks.provider` reads. It takes about ten seconds and 1 GB of memory once.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Final

_LINK: Final = re.compile(r"providers/hashicorp/aws/([\d.]+)/docs/resources/(\w+)#(\w+)[ }]")
#: Attributes of a resource that no configuration sets.
_NOT_SET: Final = frozenset({"timeouts", "tags_all", "id"})


def extract(wheel: Path) -> dict[str, Any]:
    """Return the schema in `wheel`.

    Returns:
        `version` of the provider; `resources`: Terraform's type without `aws_` -> name of its block; `blocks`: name ->
        attribute -> [type, required]. A type is `string`, `number`, `bool`, `any`, a block's name, or one of these
        behind `list ` or `map `.

    Raises:
        ValueError: If the wheel holds no schema.
    """
    types = _types(wheel)
    version = ""
    resources: dict[str, str] = {}
    blocks: dict[str, dict[str, list[Any]]] = {}
    wanted = [name for name in types if name.endswith("Config") and _is_resource(types[name])]
    while wanted:
        name = wanted.pop()
        if name in blocks:
            continue
        block = blocks.setdefault(name, {})
        for prop in types[name].get("properties", []):
            text = json.dumps(prop.get("docs", {}))
            link = _LINK.search(text)
            if link is None or (link[3] in _NOT_SET and _is_resource(types[name])):
                continue
            kind, inner = _kind(prop["type"])
            block[link[3]] = [kind, not prop.get("optional", False)]
            if inner in types:
                wanted.append(inner)
            if _is_resource(types[name]):
                version, resources[link[2]] = link[1], name
    if not resources:
        raise ValueError(f"{wheel.name} describes no resource")
    return {"version": version, "resources": resources, "blocks": blocks}


def _types(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(archive.read(inner)), mode="r:gz") as package:
            member = package.extractfile("package/.jsii")
            if member is None:
                raise ValueError(f"{wheel.name} holds no package/.jsii")
            types: dict[str, Any] = json.load(member)["types"]
            return types


def _is_resource(type_: dict[str, Any]) -> bool:
    # Data sources have such an interface, too; their documentation lies elsewhere.
    return "cdktn.TerraformMetaArguments" in type_.get("interfaces", [])


def _kind(type_: dict[str, Any]) -> tuple[str, str]:
    """Return the type as the schema writes it, and the block in it."""
    if "primitive" in type_:
        return {"boolean": "bool"}.get(type_["primitive"], type_["primitive"]), ""
    if "collection" in type_:
        kind, inner = _kind(type_["collection"]["elementtype"])
        return f"{'list' if type_['collection']['kind'] == 'array' else 'map'} {kind}", inner
    if "union" in type_:
        # A token that is resolved later stands for any value.
        (real,) = [one for one in type_["union"]["types"] if one.get("fqn") != "cdktn.IResolvable"]
        return _kind(real)
    return type_["fqn"], type_["fqn"]


def main() -> int:
    """Write the schema."""
    wheel, target = map(Path, sys.argv[1:])
    schema = extract(wheel)
    part = target.with_suffix(".part")
    part.write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True))
    part.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
