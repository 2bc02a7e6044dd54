"""`python -m scripts.demo [--keep]`: see the package."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import psutil
from rich.console import Console

from scripts.demo.errors import DemoError, StoppedError
from scripts.demo.memory import MemoryMeter
from scripts.demo.processes import Children
from scripts.demo.run import run
from scripts.demo.view import Clock, PlainView
from scripts.localcluster import LocalClusterError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds to stop in when interrupted: the work is lost anyway, its queues end too.
HURRY_SECONDS = 5.0
PLAIN_WIDTH = 160
#: Exit code when the fleet lost something or was wrong.
FAILED = 1


def main() -> int:
    """Run the demo; 0 only if every task arrived and every result is right."""
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay up afterwards and say how to talk to the fleet")
    keep = parser.parse_args().keep
    _forget_outer_settings()
    # The console's lines are the demo's; libraries report through exceptions.
    logging.disable(logging.CRITICAL)
    # A file has no width: wide enough for every line of the tables.
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    clock, children, memory = Clock(), Children(), MemoryMeter()
    directory = Path(tempfile.mkdtemp(prefix="celery-fleet-demo-"))
    _on_signals(_stop)
    memory.start()
    code = FAILED
    try:
        with ExitStack() as cleanup:
            cleanup.callback(_ignore_signals)
            try:
                code = 0 if run(console, clock, children, directory, cleanup, keep=keep) else FAILED
            except StoppedError:
                children.hurry(HURRY_SECONDS)
                raise
            finally:
                _ignore_signals()
    except StoppedError as stopped:
        code = 128 + stopped.signum
        print("\nStopped before its end.", file=sys.stderr)
    except (DemoError, LocalClusterError) as error:
        print(f"\n{error}", file=sys.stderr)
    memory.stop()
    left = children.left() | {process.pid for process in psutil.Process().children(recursive=True)}
    say = PlainView(console, clock).event
    say(f"at most {memory.processes} processes and {memory.peak / 2**20:.0f} MB (shared pages counted once)")
    say(f"stopped everything; processes left: {len(left)}" + (f" {sorted(left)}" if left else ""))
    if code == 0:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        say(f"logs are in {directory}")
    return FAILED if left else code


def _forget_outer_settings() -> None:
    """The shell's own settings and credentials are not the demo's."""
    for name in [name for name in os.environ if name.startswith(("FLEET_", "AWS_"))]:
        del os.environ[name]


def _stop(signum: int, _frame: FrameType | None) -> None:
    raise StoppedError(signum)


def _on_signals(handler: signal._HANDLER) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _ignore_signals() -> None:
    """What is being stopped must not be interrupted."""
    _on_signals(signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
