"""The whole local fleet is replaced by a new version under load, while publishers already send its new tasks."""

from __future__ import annotations

import io
import os
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from scripts.demo.faults import Faults
from scripts.demo.fleet import Task
from scripts.demo.local import Difference
from scripts.demo.outcome import examine
from scripts.demo.processes import Children
from scripts.demo.stage import Stage, build
from scripts.demo.website import Website
from scripts.demo.workload import library_files
from service import fleet
from service.rediscluster import BrokerInspector
from tests.rollout import version_b
from tests.rollout.load import FILES, Load
from tests.rollout.roll import roll

TICK = 0.25
#: Seconds for what is left when the last old worker has ended: an unknown task is offered again after 60 s at most.
REST_SECONDS = 240.0


@pytest.fixture
def no_outer_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("FLEET_", "AWS_"))]:
        monkeypatch.delenv(name)


def new_version(table: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """What differs from the rendered environment in the new version: it has more tasks."""
    return tuple(
        replace(row, value=f"{row.value},{version_b.__name__}") if row.variable == "FLEET_TASK_MODULES" else row
        for row in table
    )


def drive(stage: Stage, load: Load) -> list[Task]:
    """Replace the fleet under load; returns the old tasks when all that was asked has been done."""
    load.turn(more=True, greet=False)
    while not load.tally.done:
        time.sleep(TICK)
        load.turn(more=True, greet=False)
    old: list[Task] = []
    stage.fleet.table = new_version(stage.fleet.table)
    for _ in roll(stage.fleet, old):
        load.turn(more=True, greet=True)
        time.sleep(TICK)
    deadline = time.monotonic() + REST_SECONDS
    while load.missing or not load.published:
        load.turn(more=False, greet=False)
        assert time.monotonic() < deadline, f"{load.missing} tasks have not ended {REST_SECONDS:.0f} s later"
        time.sleep(TICK)
    return old


@pytest.mark.slow(minutes=4)
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("no_outer_settings")
def test_a_rolling_replacement_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    with ExitStack() as cleanup:
        stage = build(Console(file=io.StringIO()), print, Children(), tmp_path, cleanup)
        website = Website(library_files()[:FILES])
        website.start()
        cleanup.callback(website.stop)
        load = Load(stage, website)
        cleanup.callback(load.stop)
        old = drive(stage, load)

        codes = Counter(task.child.exit_code for task in old)
        assert set(codes) == {0}, f"exit codes of the old tasks: {codes}"
        met = [task for task in old if "no task shop." in task.child.log.read_text()]
        assert met, "the old workers met new tasks"
        for workload in load.rounds:
            outcome = examine(stage.app, workload, load.tally, Faults(), workload.sequential())
            assert outcome.good, f"lost {outcome.lost}, wrong {outcome.wrong}, exact {outcome.agrees}"
        for task_id, number in load.greetings.items():
            assert stage.app.backend.get_task_meta(task_id)["result"] == version_b.greet(number)
        repeated = load.tally.repeated()
        assert not repeated, f"of {len(load.tally.runs)} tasks these ran more than once: {repeated}"
        inspector = BrokerInspector(stage.settings.broker_url, stage.app.conf.broker_transport_options)
        cleanup.callback(inspector.close)
        left = {queue.name: inspector.stats(queue.name) for queue in fleet.QUEUES}
        assert not any(stats.depth or stats.delayed or stats.buried for stats in left.values()), left
        print(
            f"\n{len(old)} tasks replaced, {len(load.tally.runs)} runs of {len(load.tally.done)} tasks, "
            f"{len(load.greetings)} of them new, {len(met)} old workers met new tasks, exit codes {dict(codes)}"
        )
