"""pytest's side of a run: leaves out what the list says, and writes down what became of each test."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conformance.deselected import deselected

#: Where the outcomes go, by the names below.
OUTCOMES_VARIABLE = "CONFORMANCE_OUTCOMES"
#: The suite whose list counts; unset on a single Redis.
SUITE_VARIABLE = "CONFORMANCE_SUITE"


class Recorder:
    """Outcomes by node id: passed, failed, skipped, xfailed or deselected."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.reruns: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the worst of a test's phases, of its last attempt."""
        name, outcome = report.nodeid, str(report.outcome)
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration
        if outcome == "rerun":
            self.reruns.setdefault(name, []).append(_why(report))
            self.outcomes.pop(name, None)
        elif outcome == "failed":
            self.outcomes[name] = "failed"
        elif outcome == "skipped":
            self.outcomes.setdefault(name, "xfailed" if hasattr(report, "wasxfail") else "skipped")
            if isinstance(report.longrepr, tuple):
                self.reasons[name] = report.longrepr[2]
        elif report.when == "call":
            self.outcomes.setdefault(name, "passed")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take out what the list names."""
        suite = os.environ.get(SUITE_VARIABLE)
        groups = deselected(suite) if suite else []
        for item in list(items):
            reason = next((group.reason for group in groups if group.names(item.nodeid)), None)
            if reason is not None:
                items.remove(item)
                self.outcomes[item.nodeid] = "deselected"
                self.reasons[item.nodeid] = reason

    def pytest_sessionfinish(self) -> None:
        """Write everything down."""
        content = {"outcomes": self.outcomes, "reasons": self.reasons, "reruns": self.reruns, "seconds": self.seconds}
        Path(os.environ[OUTCOMES_VARIABLE]).write_text(json.dumps(content))


def _why(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message).partition("\n")[0] if crash else report.longreprtext.rpartition("\n")[2]


def pytest_configure(config: pytest.Config) -> None:
    """Start recording."""
    config.addinivalue_line("markers", "env(name): kombu's name for the server that a test needs")
    config.pluginmanager.register(Recorder(), "conformance-recorder")
