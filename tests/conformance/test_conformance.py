from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conformance.deselected import Deselected, deselected, stale
from tests.conformance.report import table
from tests.conformance.run import Outcome, run_on_cluster
from tests.conformance.suites import REPOSITORY, SUITES, Suite, fetch, unpack


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_entry_of_the_list_has_a_reason_and_stands_once(suite: Suite) -> None:
    groups = deselected(suite.name)
    names = [name for group in groups for name in group.tests]
    assert all(group.reason for group in groups)
    assert len(names) == len(set(names))


def test_an_entry_names_a_test_with_all_its_parameters_and_no_other() -> None:
    entry = Deselected("why", ("t/test_a.py::test_one",))
    assert entry.names("t/test_a.py::test_one")
    assert entry.names("t/test_a.py::test_one[1]")
    assert not entry.names("t/test_a.py::test_one_more")


def test_an_entry_that_names_nothing_is_reported() -> None:
    name = deselected("kombu")[0].tests[0]
    assert stale("kombu", [f"{name}[None]"]) != stale("kombu", [])


def test_the_report_counts_and_explains() -> None:
    outcome = Outcome(outcomes={"a": "passed", "b": "failed", "c": "deselected"}, reasons={"c": "because"})
    text = table([("suite", outcome)])
    assert "suite: failed\n  b" in text
    assert "  1  because" in text
    assert not outcome.good


@pytest.mark.slow(minutes=6)
@pytest.mark.timeout(900)
def test_a_part_of_the_suites_passes_on_a_cluster(tmp_path: Path) -> None:
    subprocess.run([REPOSITORY / "scripts" / "setup.sh", "conformance"], check=True)
    fetch()
    rows = []
    for suite in SUITES:
        root = unpack(suite, tmp_path)
        outcome = Outcome()
        for target in suite.part:
            outcome.add(run_on_cluster(suite, root, target))
        rows.append((suite.name, outcome))
    assert all(outcome.good and outcome.having("passed") for _, outcome in rows), table(rows)
