"""The demo from beginning to end."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from scripts.demo import report
from scripts.demo.drive import Drive
from scripts.demo.keep import keep_up
from scripts.demo.outcome import examine
from scripts.demo.processes import Children
from scripts.demo.stage import build
from scripts.demo.view import Clock, PlainView
from scripts.demo.website import Website
from scripts.demo.workload import Workload, library_files
from service.routing import Routing


def run(console: Console, clock: Clock, children: Children, directory: Path, cleanup: ExitStack, *, keep: bool) -> bool:
    """Start everything, put it through the faults, and tell how it went.

    Args:
        console: Where to write.
        clock: The demo's time.
        children: Starts processes.
        directory: For logs and the ledger.
        cleanup: Gets what ends all that is started here.
        keep: Stay up afterwards until interrupted.

    Returns:
        Whether everything arrived and is exact.

    Raises:
        DemoError: Something cannot be started or does not answer.
        LocalClusterError: Redis does not do what it must.
    """
    say = PlainView(console, clock).event
    stage = build(console, say, children, directory, cleanup)
    files = library_files()
    website = Website(files)
    website.start()
    cleanup.callback(website.stop)
    workload = Workload(stage.app, files, website.url, Routing(stage.settings.queue_table).queue_of)
    drive = Drive(console, clock, stage, workload, cleanup)
    sequential = drive.run()
    say("comparing every result with its own computation here")
    outcome = examine(stage.app, workload, drive.tally, drive.faults, sequential)
    report.print_outcome(console, workload, drive.tally, outcome, stage.settings.queues)
    report.print_reduction(console, outcome, sequential)
    published = report.print_scaling(console, stage.alarm, stage.cloudwatch, stage.region)
    if keep:
        keep_up(console, stage, directory)
    return outcome.good and published
