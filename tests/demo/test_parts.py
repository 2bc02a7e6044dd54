from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.demo.errors import DemoError
from scripts.demo.faults import Faults
from scripts.demo.local import RENDERED, TASK_DIRECTORY, Difference, local_environment
from scripts.demo.outcome import UNKNOWN, WORKER_DIED, examine
from scripts.demo.processes import Child, Children
from scripts.demo.tally import Tally
from service.routing import Routing
from service.work.tokens import merge
from tests.rediscluster.faultkit import eventually

TABLE = (
    Difference("FLEET_REDIS_HOST", "127.0.0.1", ""),
    Difference("FLEET_REDIS_PASSWORD", "made-up", "", secret=True),
    Difference("FLEET_TASK_MODULES", f"{RENDERED},ledger", ""),
    Difference("TMPDIR", TASK_DIRECTORY, ""),
)


def write(ledger: Path, *entries: dict[str, Any]) -> None:
    with ledger.open("a") as file:
        file.writelines(json.dumps({"at": 1.0, **entry}) + "\n" for entry in entries)


def test_only_the_table_differs_from_the_rendered_environment(tmp_path: Path) -> None:
    rendered = {"FLEET_REDIS_HOST": "aws", "FLEET_POOL": "gevent", "FLEET_TASK_MODULES": "service.tasks"}
    secrets = {"FLEET_REDIS_PASSWORD": "arn:aws:secretsmanager:…"}
    assert local_environment(TABLE, rendered, secrets, tmp_path) == {
        "FLEET_REDIS_HOST": "127.0.0.1",
        "FLEET_REDIS_PASSWORD": "made-up",
        "FLEET_POOL": "gevent",
        "FLEET_TASK_MODULES": "service.tasks,ledger",
        "TMPDIR": str(tmp_path),
    }


def test_a_service_without_task_modules_gets_none(tmp_path: Path) -> None:
    assert "FLEET_TASK_MODULES" not in local_environment(TABLE, {}, {}, tmp_path)


def test_a_secret_without_a_local_value_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="SHOP_TOKEN"):
        local_environment(TABLE, {}, {"SHOP_TOKEN": "arn"}, tmp_path)


def test_a_secret_is_not_shown() -> None:
    assert "made-up" not in TABLE[1].shown


def test_the_tally_counts_ends_and_repetitions(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    tally = Tally(ledger)
    tally.refresh()
    write(ledger, {"event": "start", "id": "a", "pid": 1}, {"event": "start", "id": "b", "pid": 2})
    tally.refresh()
    assert tally.running_in({1}) == ["a"]
    assert tally.done == set()
    write(ledger, {"event": "end", "id": "b", "pid": 2, "state": "SUCCESS"}, {"event": "start", "id": "a", "pid": 3})
    write(ledger, {"event": "end", "id": "a", "pid": 3, "state": "FAILURE"})
    tally.refresh()
    assert tally.done == {"b"}
    assert list(tally.repeated()) == ["a"]
    assert tally.running_in({1, 2, 3}) == ["a"]


def test_the_tally_leaves_a_half_written_line_for_later(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    tally = Tally(ledger)
    line = json.dumps({"event": "start", "id": "a", "pid": 1, "at": 1.0}) + "\n"
    ledger.write_text(line[:10])
    tally.refresh()
    assert tally.runs == {}
    ledger.write_text(line)
    tally.refresh()
    assert list(tally.runs) == ["a"]


class _Backend:
    def __init__(self, results: dict[str, Any]) -> None:
        self._results = results

    def get_task_meta(self, task_id: str) -> dict[str, Any]:
        if task_id not in self._results:
            return {"status": "PENDING", "result": None}
        return {"status": "SUCCESS", "result": self._results[task_id]}


class _App:
    def __init__(self, results: dict[str, Any]) -> None:
        self.backend = _Backend(results)


class _Job:
    def __init__(self, task_id: str, expected: Any) -> None:
        self.id, self.name = task_id, "shop.sync.pull"
        self.expected = lambda: expected


class _Workload:
    def __init__(self) -> None:
        self.ids = {"a": "shop.sync.pull", "b": "shop.sync.pull", "sum": "shop.workflow.sum"}
        self.jobs = [_Job("a", 1), _Job("b", 2)]
        self.reduced_id = "sum"
        self.queue_of = Routing().queue_of


def outcome(
    tmp_path: Path, results: dict[str, Any], *entries: dict[str, Any], dead: frozenset[int] = frozenset()
) -> Any:
    ledger = tmp_path / "ledger"
    write(ledger, *entries)
    tally = Tally(ledger)
    tally.refresh()
    app: Any = _App(results)
    workload: Any = _Workload()
    return examine(app, workload, tally, Faults(dead_pids=set(dead)), merge([]))


def ran(task_id: str, pid: int = 1) -> list[dict[str, Any]]:
    return [
        {"event": "start", "id": task_id, "pid": pid},
        {"event": "end", "id": task_id, "pid": pid, "state": "SUCCESS"},
    ]


ALL = [*ran("a"), *ran("b"), *ran("sum")]


def test_all_arrived_and_right_is_good(tmp_path: Path) -> None:
    result = outcome(tmp_path, {"a": 1, "b": 2, "sum": merge([])}, *ALL)
    assert result.good
    assert (result.sent, result.lost, result.compared, result.agrees) == (3, [], 2, True)


def test_a_lost_task_is_not_good(tmp_path: Path) -> None:
    result = outcome(tmp_path, {"b": 2, "sum": merge([])}, *ran("b"), *ran("sum"))
    assert result.lost == ["a"]
    assert not result.good


@pytest.mark.parametrize("results", [{"a": 1, "b": 3}, {"a": 1}, {"a": 1, "b": 2, "sum": {"files": 1}}])
def test_a_wrong_or_missing_result_is_not_good(tmp_path: Path, results: dict[str, Any]) -> None:
    assert not outcome(tmp_path, {"sum": merge([]), **results}, *ALL).good


def test_a_second_run_is_good_and_has_a_cause(tmp_path: Path) -> None:
    results = {"a": 1, "b": 2, "sum": merge([])}
    again = [{"event": "start", "id": "a", "pid": 7}, *ALL, *ran("b", 9)]
    result = outcome(tmp_path, results, *again, dead=frozenset({7}))
    assert result.good
    assert result.repeated == {WORKER_DIED: 1, UNKNOWN: 1}


@pytest.fixture
def children() -> Iterator[Children]:
    started = Children()
    yield started
    started.hurry(0)
    started.stop()


def start(children: Children, directory: Path, code: str, stop_timeout: float = 10) -> Child:
    ready = directory / f"ready-{time.monotonic_ns()}"
    code = f"import signal, subprocess, time, pathlib\n{code}\npathlib.Path({str(ready)!r}).touch()\ntime.sleep(60)"
    environment = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"}
    child = children.start("child", ["python", "-c", code], environment, directory / "log", stop_timeout)
    deadline = time.monotonic() + 20
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


def test_a_child_that_obeys_is_not_killed(children: Children, tmp_path: Path) -> None:
    child = start(children, tmp_path, "")
    assert children.stop() == []
    assert child.exit_code == -signal.SIGTERM
    assert children.left() == set()


def test_a_child_that_does_not_obey_is_killed_with_all_it_started(children: Children, tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsubprocess.Popen(['sleep', '60'])"
    child = start(children, tmp_path, code, stop_timeout=0.2)
    assert len(child.members()) == 2
    assert children.stop() == [child]
    eventually(lambda: not children.left(), "all of them have ended")


def test_what_an_obedient_child_leaves_behind_is_killed(children: Children, tmp_path: Path) -> None:
    start(children, tmp_path, "subprocess.Popen(['sleep', '60'])")
    children.stop()
    eventually(lambda: not children.left(), "it has ended")


def test_a_missing_program_is_one_sentence(children: Children, tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="worker-1 cannot start: there is no program nothing"):
        children.start("worker-1", ["nothing"], {"PATH": str(tmp_path)}, tmp_path / "log")
