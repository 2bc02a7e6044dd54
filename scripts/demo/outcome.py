"""Compares what happened with what was asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from scripts.demo.faults import Faults
from scripts.demo.tally import Run, Tally
from scripts.demo.workload import Workload
from service.work.tokens import Statistics

WORKER_DIED, PRIMARY_DIED, UNKNOWN = "its worker was killed", "its primary was killed", "unknown"


@dataclass
class Outcome:
    """What came of the workload.

    Attributes:
        sent: Tasks asked for.
        lost: Those that never ran to a successful end.
        repeated: How many ran more than once, by cause.
        wrong: Results that are not what they must be, with the reason.
        compared: How many results were compared.
        reduced: The chord's result; None if there is none.
        agrees: Whether it is the sequential one.
    """

    sent: int
    lost: list[str] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    compared: int = 0
    reduced: Statistics | None = None
    agrees: bool = False

    @property
    def good(self) -> bool:
        """Whether all arrived and every result is right."""
        return not self.lost and not self.wrong and self.agrees


def examine(app: Celery, workload: Workload, tally: Tally, faults: Faults, sequential: Statistics) -> Outcome:
    """Look at every task and every result.

    Args:
        app: The client's app.
        workload: What was asked.
        tally: What ran.
        faults: What was done to the fleet.
        sequential: The reduction's result, computed without the fleet.
    """
    outcome = Outcome(sent=len(workload.ids), lost=[task_id for task_id in workload.ids if task_id not in tally.done])
    for task_id, runs in tally.repeated().items():
        outcome.repeated[_cause(workload.queue_of(workload.ids.get(task_id, "")), runs, faults)] += 1
    for job in workload.jobs:
        if job.expected is not None and job.id in tally.done:
            outcome.compared += 1
            problem = _difference(app.backend.get_task_meta(job.id), job.expected())
            if problem:
                outcome.wrong.append(f"{job.name} {job.id}: {problem}")
    meta = app.backend.get_task_meta(workload.reduced_id)
    outcome.reduced = meta["result"] if meta["status"] == "SUCCESS" else None
    outcome.agrees = outcome.reduced == sequential
    return outcome


def _difference(meta: dict[str, Any], expected: Any) -> str:
    if meta["status"] != "SUCCESS":
        return f"its result says {meta['status']}"
    return "" if meta["result"] == expected else "its result differs"


def _cause(queue: str, runs: list[Run], faults: Faults) -> str:
    first, second = runs[0], runs[1]
    if first.pid in faults.dead_pids:
        return WORKER_DIED
    # An acknowledgement that the primary had not replicated, or that met no primary, is void: the lease ends later.
    if faults.primary_killed and first.started <= faults.primary_replaced <= second.started:
        return f"{PRIMARY_DIED} ({queue})"
    return UNKNOWN
