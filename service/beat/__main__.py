"""Looks at the periodic tasks, and runs one by hand: `python -m service.beat list | run NAME`.

With the `FLEET_…` variables of a beat, as in its container.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence

from celery.beat import SchedulingError
from redis import exceptions

from service.beat.due import NEVER, moment, next_due
from service.beat.entries import Entry, run_now
from service.beat.leader import Leader
from service.beat.process import app_and_entries, leader_of
from service.rediscluster.kept import KeptLanes
from service.settings import SettingsError, load_settings

#: Exit codes beside 0.
NOT_DONE, WRONG_USE = 1, 2


def describe(entries: Sequence[Entry], lasts: Mapping[str, int | None], now: int) -> list[str]:
    """The entries as lines: name, queue, schedule, last tick, next one.

    Args:
        entries: The entries.
        lasts: Time of each one's last tick by name, in milliseconds; None before its first.
        now: Unix time in milliseconds.
    """
    rows = [("NAME", "QUEUE", "SCHEDULE", "LAST", "NEXT")]
    for entry in sorted(entries, key=lambda entry: entry.name):
        last = lasts[entry.name]
        due = next_due(entry.schedule, now if last is None else last)
        rows.append((entry.name, entry.queue, str(entry.celery.schedule), _time(last), _time(due)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(milliseconds: int | None) -> str:
    if milliseconds is None or milliseconds >= NEVER:
        return "-"
    return moment(milliseconds).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")


def led_by(leader: Leader) -> str:
    """Who leads, in a sentence."""
    standing = leader.standing()
    if standing is None:
        return "no beat has led for a day"
    if not standing.leads:
        return f"nobody leads; {standing.leader} did until {standing.age:.0f} s ago"
    late = f", its latest tick is late by {standing.late:.0f} s" if standing.late >= 1 else ""
    return f"{standing.leader} leads since {standing.leading:.0f} s{late}"


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.beat", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="who leads, and every periodic task with its last and next tick (UTC)")
    run = commands.add_parser("run", help="publish a periodic task's task now, beside its schedule")
    run.add_argument("name")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings()
        app, entries = app_and_entries(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    try:
        if given.command == "run":
            entry = next((entry for entry in entries if entry.name == given.name), None)
            if entry is None:
                known = ", ".join(sorted(entry.name for entry in entries)) or "none"
                print(f"there is no periodic task {given.name!r}; there are: {known}", file=sys.stderr)
                return WRONG_USE
            print(f"task {run_now(app, entry)} is in {entry.queue}")
            return 0
        lanes = KeptLanes(app.conf.broker_url, app.conf.broker_transport_options)
        leader = leader_of(app, "list", settings.beat_lease)
        print(led_by(leader))
        lasts = {entry.name: lanes.last(entry.queue, entry.lane) for entry in entries}
        print("\n".join(describe(entries, lasts, int(time.time() * 1000))))
    except (exceptions.RedisError, OSError, SchedulingError) as error:
        print(f"the cluster does not answer: {error}", file=sys.stderr)
        return NOT_DONE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
