"""Checks of the checks: each seeded defect is reported by the check that exists for it, and by no other."""

from __future__ import annotations

import pytest

from scripts import checks
from tests.infra.defects import DEFECTS
from tests.infra.defects.draft import Draft
from tests.infra.renders import Renders


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_caught(name: str, renders: Renders) -> None:
    defect = DEFECTS[name]
    draft = Draft(renders.named(defect.base))
    defect.seed(draft)
    reports: dict[str, list[str]] = {}
    for check, problem in checks.run(draft.finish()):
        reports.setdefault(check, []).append(str(problem))
    assert set(reports) == defect.caught_by, reports


@pytest.mark.slow
@pytest.mark.parametrize("base", sorted({defect.base for defect in DEFECTS.values()}))
def test_what_the_defects_are_seeded_in_is_sound(base: str, renders: Renders) -> None:
    assert list(checks.run(renders.named(base))) == []


def test_every_check_catches_a_defect() -> None:
    assert set().union(*(defect.caught_by for defect in DEFECTS.values())) == set(checks.CHECKS)
