"""The documents of the package say what the code does, and the package works without its surroundings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from scripts.localcluster import LocalCluster
from service.rediscluster import Options
from tests.rediscluster.faultkit import ROOT

PACKAGE = ROOT / "service" / "rediscluster"
README = PACKAGE / "README.md"
DESIGN = ROOT / "docs" / "design.md"
#: Part of the URL.
NO_OPTIONS = {"seeds", "username", "password", "tls"}


def in_words(default: object) -> str:
    """A default as the table has it."""
    match default:
        case None | ():
            return "none"
        case bool():
            return str(default).lower()
        case int() | float():
            return f"{default:.10g}"
    return f"`{default}`"


def table(after: str) -> dict[str, list[str]]:
    """The rows of the README's table that follows a heading, by the name in the first column."""
    text = README.read_text().partition(f"\n{after}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


def test_every_option_is_documented_with_its_default() -> None:
    real = {f.name: in_words(f.default) for f in fields(Options) if f.name not in NO_OPTIONS}
    told = {name: cells[0] for name, cells in table("## Options").items()}
    missing = [f"| `{name}` | {real[name]} | unit | | meaning |" for name in real if name not in told]
    assert not missing, f"{README} lacks options; add to its table:\n" + "\n".join(missing)
    assert set(told) == set(real), f"{README} has options that there are not"
    assert told == real, f"defaults in {README} differ from class Options"
    assert all(f.default is not MISSING for f in fields(Options) if f.name in real)


def test_every_option_has_a_unit_and_a_meaning() -> None:
    for name, cells in table("## Options").items():
        assert len(cells) == 4, f"option {name}: columns are option, default, unit, results, meaning: {cells}"
        assert cells[1], f"option {name} has no unit"
        assert cells[3], f"option {name} has no meaning"


def test_the_design_names_every_script() -> None:
    named = set(re.findall(r"`(\w+)`", DESIGN.read_text().partition("## The scripts")[2].partition("\n## ")[0]))
    missing = {path.stem for path in (PACKAGE / "lua").glob("*.lua")} - named - {"lib"}
    assert not missing, f"{DESIGN}, section The scripts, does not say what these do: {missing}"


@pytest.mark.parametrize("document", [README, DESIGN, ROOT / "README.md", ROOT / "docs" / "guarantees.md"])
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{document.name} links to {target}"


#: What an application does with a copy of the package under another name.
OUTSIDER = """
import sys
from kombu import Connection, Queue

import elsewhere.cluster_transport as transport

url, name = sys.argv[1:]
with Connection(url) as connection:
    queue = Queue(name)(connection.default_channel)
    queue.declare()
    connection.Producer().publish({"number": 1}, routing_key=name)
    inspector: transport.BrokerInspector = transport.BrokerInspector(url)
    stats: transport.QueueStats = inspector.stats(name)
    parts: list[transport.PartStats] = inspector.parts(name)
    depths: list[int] = [stats.depth, *(part.stats.depth for part in parts)]
    node: str = parts[0].node
    message = queue.get()
    assert message is not None
    message.ack()
    counted: transport.TransportStats = transport.transport_stats()
    options: transport.Options = transport.parse(url, {"lease": 5})
    queue.delete()
    inspector.close()
transport.close_all()
print(depths, node, message.payload, counted.connections > 0, options.lease)
"""


@pytest.fixture
def outsider(tmp_path: Path) -> Path:
    """A project that has copied the package."""
    copy = tmp_path / "elsewhere" / "cluster_transport"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "elsewhere" / "__init__.py").touch()
    script = tmp_path / "outsider.py"
    script.write_text(OUTSIDER)
    return script


def run(outsider: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=outsider.parent,
        env=os.environ | {"PYTHONPATH": str(outsider.parent), "MYPYPATH": str(outsider.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_copy_of_the_package_works_under_another_name(outsider: Path, cluster: LocalCluster) -> None:
    told = run(outsider, str(outsider), cluster.url, "outsider")
    node = cluster.primary_for("broker:{outsider}:meta")
    assert told == f"[1, 1] 127.0.0.1:{node.port} {{'number': 1}} True 5\n"


@pytest.mark.slow
def test_what_an_application_writes_passes_strict_type_checks(outsider: Path) -> None:
    assert (PACKAGE / "py.typed").exists()
    run(outsider, "-m", "mypy", "--strict", "--explicit-package-bases", "--follow-imports=silent", str(outsider))
