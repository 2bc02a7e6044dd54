"""The demo's last words: what was sent, done, lost and run twice, and whether the result is exact."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from scripts.demo.cloudwatch import CloudWatchStandIn
from scripts.demo.local import Difference
from scripts.demo.outcome import Outcome
from scripts.demo.rendered import ScalingAlarm
from scripts.demo.tally import Tally
from scripts.demo.workload import Workload
from scripts.render.services import EcsService
from service import fleet
from service.work.tokens import Statistics


def print_services(console: Console, services: list[EcsService]) -> None:
    """What is started, as rendered."""
    table = Table(title="The rendered services", title_justify="left")
    for heading in ("ECS service", "tasks", "command", "queue", "pool", "concurrency"):
        table.add_column(heading)
    for service in services:
        environment = service.environment
        least = environment.get("FLEET_AUTOSCALE_MIN")
        most = environment.get("FLEET_CONCURRENCY", "")
        table.add_row(
            service.name,
            str(service.desired_count),
            " ".join(service.command),
            service.queue or "",
            environment.get("FLEET_POOL", ""),
            f"{least}-{most}" if least else most,
        )
    console.print(table)


def print_differences(console: Console, table: tuple[Difference, ...]) -> None:
    """All that is not as rendered."""
    shown = Table(title="What differs on this machine", title_justify="left")
    for heading in ("variable", "value here", "why"):
        shown.add_column(heading, overflow="fold")
    for row in table:
        shown.add_row(row.variable, row.shown, row.why)
    console.print(shown)


def print_outcome(console: Console, workload: Workload, tally: Tally, outcome: Outcome, queues: Sequence[str]) -> None:
    """The proof, in the order of `queues`."""
    asked = workload.by_queue
    done = dict.fromkeys(asked, 0)
    again = dict(done)
    for task_id, name in workload.ids.items():
        queue = workload.queue_of(name)
        done[queue] += task_id in tally.done
        again[queue] += len(tally.runs.get(task_id, ())) > 1
    table = Table(title="Counted by the workers, outside Redis", title_justify="left")
    table.add_column("queue")
    for heading in ("sent", "done", "lost", "run twice"):
        table.add_column(heading, justify="right")
    for queue in sorted(asked, key=queues.index):
        row = (asked[queue], done[queue], asked[queue] - done[queue], again[queue])
        table.add_row(queue, *(str(number) for number in row))
    console.print(table)
    causes = ", ".join(f"{count} because {cause}" for cause, count in outcome.repeated.items())
    twice = outcome.repeated.total()
    _say(
        console,
        f"sent {outcome.sent}, done {outcome.sent - len(outcome.lost)}, lost {len(outcome.lost)}, "
        f"run twice {twice}" + (f" ({causes})" if causes else ""),
    )
    for task_id in outcome.lost[:5]:
        _say(console, f"lost: {workload.ids[task_id]} {task_id}")
    _say(console, f"results compared with their own computation here: {outcome.compared}, wrong {len(outcome.wrong)}")
    for problem in outcome.wrong[:5]:
        _say(console, f"wrong: {problem}")


def print_reduction(console: Console, outcome: Outcome, sequential: Statistics) -> None:
    """The chord's result beside the sequential one."""
    tokens = sum(sequential["tokens"].values())
    _say(
        console,
        f"sequential: {sequential['files']} files, {sequential['lines']} lines, {tokens} tokens, "
        f"{sum(sequential['unreadable'].values())} unreadable",
    )
    if outcome.reduced is None:
        _say(console, "fleet: no result arrived")
    else:
        verdict = "identical in every count" if outcome.agrees else "NOT identical"
        _say(console, f"fleet: {outcome.reduced['files']} files, {outcome.reduced['lines']} lines; {verdict}")


def print_scaling(console: Console, alarm: ScalingAlarm, cloudwatch: CloudWatchStandIn, region: str) -> bool:
    """Whether the metric of a rendered scaling alarm was published."""
    maximum = cloudwatch.maximum(fleet.METRIC_NAMESPACE, alarm.metric, alarm.dimensions, region)
    dimensions = ", ".join(f"{name}={value}" for name, value in sorted(alarm.dimensions.items()))
    name = f"{fleet.METRIC_NAMESPACE} {alarm.metric} ({dimensions})"
    if maximum is None:
        _say(console, f"{name}: never published")
        return False
    fires = "would start more workers" if maximum > alarm.threshold else "stays quiet"
    _say(
        console,
        f"{name} was published, at most {maximum:.0f}: the rendered alarm {alarm.name} "
        f"(above {alarm.threshold:.0f}) {fires}",
    )
    return True


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
