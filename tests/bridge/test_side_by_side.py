"""A stock worker, a fleet's worker and the bridge between them, all real processes, while producers go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord

from scripts.localcluster import LocalCluster
from scripts.localcluster.single import single_redis
from service.bridge.mover import RefusedError
from tests.bridge import tasks
from tests.bridge.kit import Sides
from tests.conftest import ClusterFactory
from tests.rediscluster.faultkit import ROOT, Verdict, eventually
from tests.service.running import client, container, environment


@dataclass
class Move:
    """Both sides, and where to note what ran."""

    sides: Sides
    directory: Path
    results: str | None = None

    @property
    def ledger(self) -> Path:
        return self.directory / "ledger"

    @property
    def variables(self) -> dict[str, str]:
        return environment(self.sides.cluster, self.directory, **{tasks.LEDGER: str(self.ledger)})

    @property
    def old_app(self) -> Celery:
        return tasks.make_old_app(self.sides.old, self.results)

    @property
    def new_app(self) -> Celery:
        return client(self.sides.cluster)

    def send(self, app: Celery, numbers: range, name: str = "tests.bridge.record", **options: Any) -> None:
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            for number in numbers:
                app.send_task(name, (number,), producer=producer, **options)

    def ran(self) -> Counter[int]:
        sides = tasks.runs(self.ledger)
        return sides["old"] + sides["new"]

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self.ran()) >= count, f"{count} tasks ran, not {len(self.ran())}", 150)

    @contextmanager
    def old_worker(self) -> Iterator[subprocess.Popen[bytes]]:
        variables = self.variables | {tasks.OLD: self.sides.old}
        variables |= {tasks.RESULTS: self.results} if self.results else {}
        command = [sys.executable, "-m", "celery", "-A", "tests.bridge.tasks", "worker", "-c", "2", "-l", "INFO"]
        with (self.directory / "old.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            eventually(lambda: tasks.runs(self.ledger, "ready")["old"], "the old worker is ready")
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @contextmanager
    def new_worker(self) -> Iterator[None]:
        variables = self.variables | {"FLEET_TASK_MODULES": "tests.bridge.tasks", "FLEET_LEASE": "10"}
        (self.directory / "new").mkdir()
        with container("worker", variables, self.directory / "new") as worker:
            yield
            assert worker.process.poll() is None, worker.log.read_text()

    @contextmanager
    def follow(self) -> Iterator[subprocess.Popen[str]]:
        """The bridge, its target from the service's settings; once it moves, and at the end it is asked to end."""
        process = subprocess.Popen(
            self._command("follow"), cwd=ROOT, env=self.variables, stdout=subprocess.PIPE, text=True
        )
        try:
            eventually(lambda: move_began(self.sides), "the bridge moves messages")
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def drain(self, *arguments: str) -> str:
        command = [*self._command("drain"), *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _command(self, mode: str) -> list[str]:
        return [sys.executable, "-m", "service.bridge", mode, "--from", self.sides.old]

    def judge(self, what: str, sent: range) -> Verdict:
        by_side = tasks.runs(self.ledger)
        counts = ", ".join(f"{side} {counter.total()}" for side, counter in by_side.items())
        found = Verdict(f"{what} ({counts})", frozenset(sent), self.ran())
        print(found)
        found.demand()
        assert by_side["new"], "the fleet had nothing to do"
        return found


def move_began(sides: Sides) -> bool:
    """Whether a bridge has come."""
    return bool(sides.raw.exists("bridge:owner"))


@pytest.fixture
def move(fresh_cluster: ClusterFactory, tmp_path: Path) -> Iterator[Move]:
    cluster: LocalCluster = fresh_cluster()
    with single_redis() as address:
        yield Move(Sides(f"redis://{address}/0", cluster), tmp_path)


@pytest.mark.slow
def test_both_sides_work_while_producers_move(move: Move) -> None:
    """The procedure of docs/moving-in.md: side by side, producers switched, old workers stopped, drained."""
    old, new = move.old_app, move.new_app
    move.send(old, range(200))
    with move.old_worker() as worker, move.new_worker():
        move.wait_for(20)
        with move.follow():
            for start in range(200, 800, 100):
                move.send(old, range(start, start + 50), priority=start // 100)
                move.send(new, range(start + 50, start + 90), queue="celery")
                move.send(old, range(start + 90, start + 95), countdown=2)
                move.send(old, range(start + 95, start + 100), "tests.bridge.stubborn")
            move.wait_for(800)
            move.send(old, range(800, 1000))
            # Stopped under load, a stock worker may hang, and may not have acknowledged what it ran: it fetches nothing
            # more, finishes what it has, and is stopped then.
            old.control.cancel_consumer("celery")
            eventually(lambda: not move.sides.raw.exists("unacked"), "the old worker holds nothing any more")
            worker.terminate()
            assert worker.wait(120) == 0
            move.wait_for(1000)
        assert "nothing" in move.drain("--workers-stopped")
    move.judge("side by side", range(1000))


@pytest.mark.slow
def test_delayed_tasks_in_the_memory_of_a_killed_worker_run_once(move: Move) -> None:
    with move.old_worker() as worker:
        # So late that the worker does not run them before it is killed.
        move.send(move.old_app, range(30), countdown=40)
        eventually(lambda: move.sides.raw.hlen("unacked") == 30, "the old worker holds them all")
        with move.sides.bridge(workers_stopped=True) as mover, pytest.raises(RefusedError, match="stop it"):
            mover.begin()
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    said = move.drain("--workers-stopped")
    assert "30 of them a worker had held" in said
    with move.new_worker():
        move.wait_for(30)
    move.judge("killed with delayed tasks", range(30))


@pytest.mark.slow
def test_a_chord_may_run_on_both_sides_when_they_share_the_results(move: Move) -> None:
    move.results = move.new_app.conf.result_backend
    old = move.old_app
    old.conf.result_backend_transport_options = move.new_app.conf.result_backend_transport_options
    record, total = (old.signature(f"tests.bridge.{name}") for name in ("record", "total"))

    def ran() -> dict[str, Counter[int]]:
        return tasks.runs(move.ledger, "record")

    chords = 0
    with move.old_worker(), move.new_worker(), move.follow():
        # One side may be so fast that nothing is left for the other.
        while chords == 0 or (not (ran()["old"] and ran()["new"]) and chords < 50):
            headers = [[record.clone((number,)) for number in range(100)] for _ in range(5)]
            results = [chord(header, app=old)(total.clone()) for header in headers]
            assert [result.get(timeout=120) for result in results] == [sum(range(100))] * 5
            chords += 5
    records, totals = ran(), tasks.runs(move.ledger, "total")
    print({side: counter.total() for side, counter in records.items()})
    assert records["old"].total() + records["new"].total() == chords * 100
    assert records["old"]
    assert records["new"]
    assert totals["old"].total() + totals["new"].total() == chords
