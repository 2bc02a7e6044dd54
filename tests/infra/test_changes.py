"""What a change of the stack file touches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from scripts.render import Render, Resource
from tests.infra.renders import Renders


def changed(before: Render, after: Render) -> dict[str, set[str]]:
    """Return URN -> inputs that differ; a resource that comes or goes differs in all of them."""
    old, new = ({resource.urn: resource for resource in render.resources} for render in (before, after))
    found: dict[str, set[str]] = {}
    for urn in old.keys() | new.keys():
        one, two = (side[urn].inputs if urn in side else {} for side in (old, new))
        if keys := {key for key in one.keys() | two.keys() if one.get(key) != two.get(key)}:
            found[urn] = keys
    return found


def below(render: Render, component: str) -> set[str]:
    """Return the URNs of a queue's component and of everything in it."""
    known = {resource.urn: resource for resource in render.resources}

    def within(resource: Resource) -> bool:
        if resource.type == "celery-fleet:index:QueueWorker":
            return resource.name == component
        return resource.parent in known and within(known[resource.parent])

    return {resource.urn for resource in render.resources if within(resource)}


def test_the_cpu_of_one_queue_touches_that_queue_alone(prod: Render, renders: Renders) -> None:
    queue: dict[str, Any] = {"queues": {"data_queue": {"cpu": 4096, "memory": 8192}}}
    differences = changed(prod, renders.begin("prod", queue).result())
    assert set(differences) <= below(prod, "data-queue")
    touched = {urn.rpartition("$")[2]: keys for urn, keys in differences.items()}
    assert touched == {"aws:ecs/taskDefinition:TaskDefinition::data-queue": {"cpu", "memory", "containerDefinitions"}}


def test_the_bounds_of_one_queue_touch_its_scaling_alone(prod: Render, renders: Renders) -> None:
    differences = changed(prod, renders.begin("prod", {"queues": {"data_queue": {"max": 40}}}).result())
    kinds = Counter(urn.rpartition("$")[2].partition("::")[0] for urn in differences)
    assert set(differences) <= below(prod, "data-queue")
    assert kinds == {"aws:appautoscaling/target:Target": 1, "aws:appautoscaling/policy:Policy": 2}


@pytest.mark.slow
def test_an_owner_changes_tags_alone(prod: Render, renders: Renders) -> None:
    differences = changed(prod, renders.begin("prod", {"owner": "shop"}).result())
    assert {key for keys in differences.values() for key in keys} == {"tags"}
