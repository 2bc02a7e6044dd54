"""How the provider's schema is read from the archive that holds it."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts.schema.__main__ import extract


def prop(name: str, type_: dict[str, Any], resource: str = "ecs_service", **more: Any) -> dict[str, Any]:
    link = f"{{@link https://registry.example/providers/hashicorp/aws/6.1.0/docs/resources/{resource}#{name} X#{name}}}"
    return {"name": name, "type": type_, "docs": {"summary": link}, **more}


def wheel(folder: Path, types: dict[str, Any]) -> Path:
    package = io.BytesIO()
    text = json.dumps({"types": types}).encode()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/.jsii")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    path = folder / "bindings.whl"
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("bindings/_jsii/bindings.jsii.tgz", package.getvalue())
    return path


def test_names_types_required_and_nesting(tmp_path: Path) -> None:
    text, number = {"primitive": "string"}, {"primitive": "number"}
    block = {"fqn": "x.Block"}
    token = {"fqn": "cdktn.IResolvable"}
    types = {
        "x.ServiceConfig": {
            "interfaces": ["cdktn.TerraformMetaArguments"],
            "properties": [
                prop("name", text),
                prop("id", text, optional=True),
                prop("wait", {"union": {"types": [{"primitive": "boolean"}, token]}}, optional=True),
                prop("network", block, optional=True),
                prop("strategy", {"union": {"types": [token, _list_of(block)]}}, optional=True),
                {"name": "provider", "type": text, "docs": {}},
            ],
        },
        "x.Block": {"properties": [prop("id", text), prop("weight", number, optional=True)]},
        "x.DataConfig": {"interfaces": ["cdktn.TerraformMetaArguments"], "properties": []},
    }
    assert extract(wheel(tmp_path, types)) == {
        "version": "6.1.0",
        "resources": {"ecs_service": "x.ServiceConfig"},
        "blocks": {
            "x.ServiceConfig": {
                "name": ["string", True],
                "wait": ["bool", False],
                "network": ["x.Block", False],
                "strategy": ["list x.Block", False],
            },
            "x.Block": {"id": ["string", True], "weight": ["number", False]},
            "x.DataConfig": {},
        },
    }


def _list_of(type_: dict[str, Any]) -> dict[str, Any]:
    return {"collection": {"kind": "array", "elementtype": type_}}


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="describes no resource"):
        extract(wheel(tmp_path, {}))
