"""Every check over every configuration: nothing that AWS, the provider or a reviewer would object to."""

from __future__ import annotations

import pytest

from scripts import checks
from scripts.checks.program import preview_differs
from tests.infra.configurations import CONFIGURATIONS
from tests.infra.renders import Renders

pytestmark = pytest.mark.timeout(600)  # the first one waits until several are rendered


#: Both stacks in every run, the others among the slow proofs.
NAMES = [name if name in ("staging", "prod") else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGURATIONS]


@pytest.fixture(scope="module", autouse=True)
def _all_begun(request: pytest.FixtureRequest, renders: Renders) -> None:
    here = [item for item in request.session.items if item.path == request.path]
    for name in {item.callspec.params["name"] for item in here if hasattr(item, "callspec")}:
        for preview in (False, True):
            renders.begin(*CONFIGURATIONS[name], preview=preview)


@pytest.mark.parametrize("name", NAMES)
def test_no_check_finds_a_problem(name: str, renders: Renders) -> None:
    found = [f"{check}: {problem}" for check, problem in checks.run(renders.named(name))]
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_a_preview_shows_what_the_update_does(name: str, renders: Renders) -> None:
    """The same URNs, and the same values where a preview can know them."""
    preview, update = renders.named(name, preview=True), renders.named(name)
    assert [str(problem) for problem in preview_differs(preview, update)] == []
    assert {resource.urn for resource in preview.resources} == {resource.urn for resource in update.resources}


def test_what_is_proven_covers_both_stacks_and_ten_more() -> None:
    assert {"staging", "prod"} <= set(CONFIGURATIONS)
    assert len(CONFIGURATIONS) >= 12
