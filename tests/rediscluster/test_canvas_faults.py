"""Every nesting of canvases, with parts whose workers are killed: each part and each end counts once."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery, chain, chord, group

from scripts.localcluster import LocalCluster
from tests.rediscluster.faultapp import Plan, make_app
from tests.rediscluster.faultkit import PATIENCE, Workers, eventually, verdict


class Canvases:
    """Canvases whose parts wait, and what each must return."""

    def __init__(self, app: Celery) -> None:
        self.sent = 0
        #: What a part sends when it has finished: again, if it runs again.
        self.sends: dict[int, list[int]] = {}
        self._app = app
        self.results = {
            "a chain": (chain(self.part(), self.part(after=1)), 2),
            "a group": (group(self.part(), self.part()), [3, 4]),
            "a chord": (chord([self.part(), self.part()], self.sum()), 11),
            "a group in a chain": (chain(group(self.part(), self.part()), self.sum()), 15),
            "chains in a group": (group(chain(self.part(), self.part(after=9)), self.part()), [10, 11]),
            "a chord in a chain": (
                chain(self.part(), chord([self.part(after=12), self.part(after=12)], self.sum())),
                27,
            ),
            "chains in a chord": (chord([chain(self.part(), self.part(after=15)), self.part()], self.sum()), 33),
            "a chord in a chord": (chord([chord([self.part(), self.part()], self.sum()), self.part()], self.sum()), 57),
            "a group in a chord": (chord([group(self.part(), self.part()), self.part()], self.sum()), 66),
            "chords in a group": (group(chord([self.part()], self.sum()), chord([self.part()], self.sum())), [24, 25]),
        }

    def part(self, after: int | None = None) -> Any:
        """A task that waits at its worker's gate and returns its number; another part may send it."""
        self.sent += 1
        if after is not None:
            self.sends.setdefault(after, []).append(self.sent)
        return self._app.signature("wait", (self.sent,), immutable=True, app=self._app)

    def sum(self) -> Any:
        """The end of a chord."""
        return self._app.signature("total", app=self._app)


def test_every_nesting_survives_its_workers(cluster: LocalCluster, workers: Workers, tmp_path: Path) -> None:
    plan = Plan(cluster.url, str(tmp_path), f"canvas-{uuid4().hex}", {"lease": 3.0, "idle_timeout": 2.0})
    app = make_app(plan)
    canvases = Canvases(app)
    running = {name: (canvas.apply_async(), expected) for name, (canvas, expected) in canvases.results.items()}
    # The first never finishes a part, the second is killed while it finishes them.
    first = workers(plan, concurrency=4)
    eventually(lambda: len(first.began()) >= 4, "the first worker began to work")
    first.kill()
    second = workers(plan, concurrency=4)
    eventually(lambda: len(second.began()) >= 4, "the second worker began to work")
    second.open_gate()
    eventually(lambda: len(second.began()) >= 12, "the second worker is in the middle")
    second.kill()
    workers(plan, concurrency=4).open_gate()
    returned = {name: result.get(timeout=PATIENCE) for name, (result, _) in running.items()}
    app.close()
    assert returned == {name: expected for name, (_, expected) in running.items()}
    judged = verdict("two workers were killed inside canvases", range(1, canvases.sent + 1), plan)
    # What the second had finished and not yet acknowledged when it was killed, and what that sent.
    unacknowledged = second.began()
    judged.demand(
        may_run_twice={*unacknowledged, *(n for part in unacknowledged for n in canvases.sends.get(part, ()))}
    )
