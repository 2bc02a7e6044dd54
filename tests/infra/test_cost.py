"""What a stack costs follows from its render."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from scripts.cost.bill import Item, bill, total, vcpus
from scripts.cost.prices import UnknownPriceError, node
from scripts.cost.report import lines
from scripts.render import Render, Resource
from scripts.render.project import ROOT


def changed(render: Render, type_: str, **inputs: Any) -> Render:
    """The same stack, with other inputs of all resources of a type."""

    def change(resource: Resource) -> Resource:
        return replace(resource, inputs=resource.inputs | inputs) if resource.type.endswith(type_) else resource

    return replace(render, resources=tuple(map(change, render.resources)))


def of(items: list[Item], component: str) -> tuple[float, float]:
    return total([item for item in items if item.component == component])


def test_redis_costs_its_nodes(prod: Render) -> None:
    nodes = [item for item in bill(prod) if "cache." in item.what]
    assert [round(item.fewest, 2) for item in nodes] == [round(6 * 0.158 * 730, 2)]
    cheaper = [item for item in bill(changed(prod, "ReplicationGroup", engine="valkey")) if "cache." in item.what]
    assert cheaper[0].fewest == pytest.approx(0.8 * nodes[0].fewest)


def test_workers_cost_by_their_number_and_size(prod: Render) -> None:
    one = (2 * 0.04048 + 4 * 0.004445) * 730
    tasks = {item.component: item for item in bill(prod) if " tasks of " in item.what}
    assert tasks["data-queue"].fewest == pytest.approx(3 * one)
    assert tasks["data-queue"].most == pytest.approx(12 * one)
    assert tasks["dead-letter"].fewest == tasks["dead-letter"].most == pytest.approx(2 * one)
    assert set(tasks) == {service.name for service in prod.of_type("ecs/service:Service")}


def test_arm_is_cheaper(prod: Render) -> None:
    arm = changed(prod, "TaskDefinition", runtimePlatform={"cpuArchitecture": "ARM64"})
    assert of(bill(arm), "celery")[0] == pytest.approx(0.8 * of(bill(prod), "celery")[0], rel=0.05)


def test_staging_is_cheap(staging: Render, prod: Render) -> None:
    assert total(bill(staging))[0] < total(bill(prod))[0] / 3


@pytest.mark.parametrize(
    ("node_type", "hourly"), [("cache.t4g.micro", 0.016), ("cache.m7g.large", 0.158), ("cache.r7g.2xlarge", 4 * 0.219)]
)
def test_larger_nodes_cost_in_proportion(node_type: str, hourly: float) -> None:
    assert node(node_type, "redis") == pytest.approx(hourly)


def test_a_node_without_a_price_is_named(prod: Render) -> None:
    with pytest.raises(UnknownPriceError, match=r"cache\.x9z\.large is not known: add it to scripts\.cost\.prices"):
        bill(changed(prod, "ReplicationGroup", nodeType="cache.x9z.large"))


def test_the_table_adds_up_and_says_what_it_assumes(prod: Render) -> None:
    items = bill(prod)
    text = list(lines("prod", items, vcpus(prod)))
    fewest, most = (
        float(number.replace(",", "")) for number in next(t for t in text if t.startswith("total")).split()[1:]
    )
    assert (fewest, most) == pytest.approx(total(items), abs=0.01)
    components = [line for line in text[2:-8] if line and not line.startswith(" ") and not line.startswith("total")]
    assert sum(float(line.split()[-2].replace(",", "")) for line in components) == pytest.approx(fewest, abs=0.2)
    assert any("us-east-1" in line for line in text)


def test_the_readme_quotes_both_stacks(staging: Render, prod: Render) -> None:
    text = (ROOT / "README.md").read_text()
    for render in (staging, prod):
        fewest, most = (f"{round(number, -1):,.0f}" for number in total(bill(render)))
        assert f"about {fewest} USD a month" in text, f"{render.stack}: about {fewest} USD a month, up to {most}"


def test_the_quota_that_a_new_account_must_raise_is_quoted(staging: Render, prod: Render) -> None:
    text = (ROOT / "docs" / "infrastructure.md").read_text()
    (fewest, most), (small, large) = vcpus(prod), vcpus(staging)
    assert (
        f"prod {fewest:g} vCPU with the fewest tasks and {most:g} at full scale-out, staging {small:g} and {large:g}"
        in text
    )


def test_an_unknown_stack_is_an_error_of_one_line() -> None:
    command = [sys.executable, "-m", "scripts.cost", "qa"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert json.dumps(done.stderr).count("\\n") == 1
