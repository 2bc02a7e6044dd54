"""Protection from being stopped by ECS: asked for while long tasks run, and given up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.localcluster import LocalCluster
from service.protection.agent import AgentError, protect
from service.protection.guard import LINGER, REST, RETRY, Guard
from tests.service.running import Container, container, environment, wait_for_file

HELD = "tests.service.held_task"
MINUTES, AFTER = 10, 10.0
SPAN = MINUTES * 60.0


def held(guard: Guard, now: float, *starts: float) -> int | None:
    """Look, and let the agent agree."""
    minutes = guard.look(now, starts)
    if minutes is not None:
        guard.granted(now, minutes)
    return minutes


@pytest.fixture
def guard() -> Guard:
    return Guard(MINUTES, AFTER)


def test_short_tasks_ask_for_nothing(guard: Guard) -> None:
    """However many: each ends within the grace."""
    assert [held(guard, now, now - 1, now - 9) for now in range(1000)] == [None] * 1000


def test_a_long_task_is_protected_until_it_has_ended(guard: Guard) -> None:
    """One request at the beginning, one a little after the end."""
    asked = {now: held(guard, float(now), *([0.0] if now < 300 else [])) for now in range(400)}
    assert {now: minutes for now, minutes in asked.items() if minutes is not None} == {10: MINUTES, 329: 0}


def test_another_long_task_prolongs_it_once_half_is_over(guard: Guard) -> None:
    held(guard, 10, 0)
    assert held(guard, 200, 0, 100) is None
    assert held(guard, 320, 0, 100) == 7, "until 100 + 600, rounded up"
    assert guard.until == 320 + 7 * 60


def test_a_task_that_takes_longer_than_it_may_is_no_longer_protected(guard: Guard) -> None:
    """Then the worker rests, and the task cannot make it ask again."""
    held(guard, 10, 0)
    assert held(guard, SPAN - 1, 0) is None
    assert held(guard, SPAN, 0) == 0
    assert [held(guard, SPAN + seconds, 0) for seconds in range(1, 200)] == [None] * 199


def test_a_refusal_is_followed_by_patience(guard: Guard) -> None:
    """AWS throttles."""
    assert guard.look(20, [0]) == MINUTES
    guard.refused(20)
    assert guard.look(20 + RETRY - 1, [0]) is None
    assert guard.look(20 + RETRY, [0]) == MINUTES


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4 * 600), st.integers(1, 900)), max_size=30))
def test_whatever_runs_a_worker_can_be_stopped_in_bounded_time(runs: list[tuple[int, int]]) -> None:
    """Protection ends after two spans at most, and is not asked for all the time."""
    guard, since, requests = Guard(MINUTES, AFTER), None, 0
    for now in range(6 * 600):
        minutes = held(guard, float(now), *(float(start) for start, length in runs if start <= now < start + length))
        requests += minutes is not None
        assert minutes is None or minutes <= MINUTES
        since = None if guard.until is None else now if since is None else since
        assert since is None or now - since <= 2 * SPAN
    assert requests <= 6 * 600 / (LINGER * AFTER)


def test_a_worker_that_is_never_idle_rests(guard: Guard) -> None:
    """One long task after the other, overlapping: ECS gets its minute."""
    free = []
    for now in range(6 * 600):
        held(guard, float(now), *(float(start) for start in range(0, now + 1, 60) if now < start + 200))
        if guard.until is None:
            free.append(now)
    assert [now for now in free if now < SPAN] == list(range(10))
    assert len([now for now in free if now >= SPAN]) >= 2 * REST


class Agent:
    """Stands for the agent of ECS: notes what it is asked, and answers what a test wants."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status, self.answer = 200, '{"protection": {"ProtectionEnabled": true, "TaskArn": "arn"}}'
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                agent.asked.append({"path": self.path, **json.loads(body)})
                self.send_response(agent.status)
                self.end_headers()
                self.wfile.write(agent.answer.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}/api/abc"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, enabled: bool, worker: Container) -> dict[str, Any]:
        """Wait until this was asked for last."""
        deadline = time.monotonic() + 120
        while not (self.asked and self.asked[-1]["ProtectionEnabled"] is enabled):
            assert time.monotonic() < deadline, f"{self.asked}\n{worker.log.read_text()}"
            time.sleep(0.05)
        return self.asked[-1]


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    yield made
    made.close()


def test_the_agent_is_asked_as_its_documentation_says(agent: Agent) -> None:
    protect(agent.uri, 7)
    protect(agent.uri, 0)
    path = "/api/abc/task-protection/v1/state"
    assert agent.asked == [
        {"path": path, "ProtectionEnabled": True, "ExpiresInMinutes": 7},
        {"path": path, "ProtectionEnabled": False},
    ]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (200, '{"failure": {"Reason": "DEPLOYMENT_BLOCKED", "Detail": "wait"}}', "DEPLOYMENT_BLOCKED: wait"),
        (400, '{"error": {"Code": "AccessDeniedException", "Message": "no"}}', "AccessDeniedException: no"),
        (500, "oops", "status 500, and no JSON"),
        (200, "{}", "status 200, and nothing about protection"),
    ],
)
def test_what_the_agent_refuses_is_an_error_in_words(agent: Agent, status: int, answer: str, said: str) -> None:
    agent.status, agent.answer = status, answer
    with pytest.raises(AgentError, match=said):
        protect(agent.uri, 1)


def test_an_agent_that_is_away_is_an_error_too() -> None:
    with pytest.raises(AgentError, match="no answer: "):
        protect("http://127.0.0.1:1/api", 1)


def worker_environment(cluster: LocalCluster, directory: Path, agent: Agent, pool: str) -> dict[str, str]:
    return environment(
        cluster,
        directory,
        ECS_AGENT_URI=agent.uri,
        FLEET_POOL=pool,
        FLEET_QUEUES="workflow_queue",
        FLEET_TASK_MODULES=HELD,
        FLEET_PROTECTION_MINUTES="5",
        FLEET_PROTECTION_AFTER="1",
        HELD_GRACE="60",
    )


@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("gevent", "threads"))]
)
def test_a_worker_protects_itself_while_it_is_busy(
    cluster: LocalCluster, app: Celery, agent: Agent, tmp_path: Path, pool: str
) -> None:
    """It asks, gives it up when it is idle, asks again, and after SIGTERM it is silent."""
    with container("worker", worker_environment(cluster, tmp_path, agent, pool), tmp_path) as worker:
        worker.wait_healthy()
        for number in (1, 2):
            place = tmp_path / str(number)
            place.mkdir()
            task = app.send_task(f"{HELD}.hold", args=(str(place),), queue="workflow_queue")
            wait_for_file(place / "started")
            assert agent.wait(True, worker)["ExpiresInMinutes"] == 5
            if number == 1:
                (place / "release").touch()
                assert task.get(timeout=60) == "ended"
                agent.wait(False, worker)
        worker.process.terminate()
        (tmp_path / "2" / "release").touch()
        assert worker.process.wait(60) == 0
    assert [request["ProtectionEnabled"] for request in agent.asked] == [True, False, True]
    log = worker.log.read_text()
    assert log.count("protected from being stopped for up to 5 minutes") == 2
    assert log.count("no longer protected") == 1


def test_an_agent_in_trouble_is_one_line_and_no_harm(
    cluster: LocalCluster, app: Celery, agent: Agent, tmp_path: Path
) -> None:
    agent.status, agent.answer = 400, '{"error": {"Code": "ThrottlingException", "Message": "slow down"}}'
    with container("worker", worker_environment(cluster, tmp_path, agent, "prefork"), tmp_path) as worker:
        worker.wait_healthy()
        task = app.send_task(f"{HELD}.hold", args=(str(tmp_path),), queue="workflow_queue")
        agent.wait(True, worker)
        (tmp_path / "release").touch()
        assert task.get(timeout=60) == "ended"
        assert worker.stop(60) == 0
    assert worker.log.read_text().count("ThrottlingException: slow down") == 1
