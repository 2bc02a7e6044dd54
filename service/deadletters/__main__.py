"""`python -m service.deadletters`: list, show, replay and discard dead letters, with a worker's `FLEET_…` variables."""

from __future__ import annotations

import argparse
import getpass
import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial

from celery import Celery
from redis import exceptions

from service.app import create_app
from service.deadletters import view
from service.deadletters.actions import CannotReplayError, Desk
from service.deadletters.drain import Drainer
from service.deadletters.letter import STATES, UNHANDLED, Letter, Selection, Summary
from service.deadletters.store import NoLetterError, Store, StoreError, open_store
from service.deadletters.untold import send_tell
from service.rediscluster.deadlist import DeadLists
from service.settings import EXIT_CONFIG, Settings, SettingsError, exit_with, settings_or_exit

_AGES = {"m": 60, "h": 3600, "d": 86400}


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code: 0, or 1 when something could not be done."""
    options = _parse(arguments)
    settings = settings_or_exit()
    target = getattr(options, "to", None)
    if target not in (None, *settings.queue_names):
        print(f"--to {target}: no such queue; the queues are {', '.join(settings.queue_names)}", file=sys.stderr)
        return EXIT_CONFIG
    store = open_store(settings)
    if store is None:
        exit_with(SettingsError(["FLEET_LETTERS_TABLE or FLEET_LETTERS_FILE: set one; nothing keeps the letters"]))
    app = create_app(settings)
    lists = DeadLists(settings.broker_url, app.conf.broker_transport_options)
    try:
        return Command(options, settings, store, lists, app).run()
    except (StoreError, exceptions.RedisError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        lists.close()
        app.close()


class Command:
    """One call of the program."""

    def __init__(
        self, options: argparse.Namespace, settings: Settings, store: Store, lists: DeadLists, app: Celery
    ) -> None:
        """Nothing is done yet."""
        self._options, self._settings, self._store, self._lists, self._app = options, settings, store, lists, app

    def run(self) -> int:
        """Do it."""
        command: Callable[[], int] = getattr(self, f"_{self._options.command}")
        return command()

    def _list(self) -> int:
        letters = list(self._store.find(self._selection()))
        if self._options.json:
            print(json.dumps([view.document(letter) for letter in letters], indent=2))
        else:
            print(view.table(letters))
        return 0

    def _show(self) -> int:
        def show(letter: Letter) -> str:
            return json.dumps(view.document(letter), indent=2) if self._options.json else view.page(letter)

        return self._each(self._options.ids, lambda letter_id: show(self._store.get(letter_id)))

    def _replay(self) -> int:
        target: str | None = self._options.to

        def replay(letter_id: str) -> str:
            done, letter = self._desk().replay(letter_id, target)
            if done:
                return f"{_named(letter)} published again to {letter.target}"
            return f"{_named(letter)} nothing to do: {_history(letter)}"

        def rehearse(letter_id: str) -> str:
            would, letter = self._desk().rehearse_replay(letter_id, target)
            if would:
                return f"{_named(letter)} would be published again to {letter.target}"
            if letter.state == "replaying":
                return f"{_named(letter)} would only be noted: it was published again to {letter.target} before"
            return f"{_named(letter)} nothing to do: {_history(letter)}"

        return self._handle(replay, rehearse)

    def _discard(self) -> int:
        def discard(letter_id: str) -> str:
            done, letter = self._desk().discard(letter_id)
            return f"{_named(letter)} discarded" if done else f"{_named(letter)} nothing to do: {_history(letter)}"

        def rehearse(letter_id: str) -> str:
            would, letter = self._desk().rehearse_discard(letter_id)
            return f"{_named(letter)} " + ("would be discarded" if would else f"nothing to do: {_history(letter)}")

        return self._handle(discard, rehearse)

    def _drain(self) -> int:
        queues = self._settings.queue_names
        drainer = Drainer(self._lists, self._store, queues, partial(send_tell, self._app))
        failed = 0
        for queue in queues:
            try:
                print(f"{queue}: {drainer.drain(queue)} letters stored")
            except StoreError as error:
                print(error, file=sys.stderr)
                failed += 1
        return 1 if failed else 0

    def _handle(self, act: Callable[[str], str], rehearse: Callable[[str], str]) -> int:
        ids = self._options.ids or [letter.id for letter in self._store.find(self._selection())]
        return self._each(ids, rehearse if self._options.dry_run else act)

    def _each(self, ids: Iterable[str], do: Callable[[str], str]) -> int:
        failed = 0
        for letter_id in ids:
            try:
                print(do(letter_id))
            except (NoLetterError, CannotReplayError) as error:
                why = "there is no such letter" if isinstance(error, NoLetterError) else f"cannot be replayed: {error}"
                print(f"{letter_id}: {why}", file=sys.stderr)
                failed += 1
        return 1 if failed else 0

    def _desk(self) -> Desk:
        settings = self._settings
        return Desk(self._store, self._lists, settings.queue_names, self._options.by, settings.letters_days)

    def _selection(self) -> Selection:
        given = self._options
        states = {"unhandled": UNHANDLED, "all": STATES}.get(given.state, (given.state,))
        return Selection(given.queue, given.task, given.reason, given.since, given.until, states)


def _named(letter: Summary) -> str:
    return f"{letter.id} {letter.task or 'not a task'}[{letter.task_id}]:"


def _history(letter: Summary) -> str:
    where = f" to {letter.target}" if letter.target else ""
    return f"{letter.state} by {letter.handled_by} at {view.moment(letter.handled_at)}{where}"


def _moment(text: str) -> int:
    """`90m`, `12h`, `3d` ago, or a moment in ISO 8601 (UTC unless it says otherwise), as Unix time in milliseconds."""
    ago = re.fullmatch(r"(\d+)([mhd])", text)
    if ago:
        return int((time.time() - int(ago[1]) * _AGES[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither 90m, 12h, 3d nor 2026-10-01T12:00") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user has no name.
        return "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m service.deadletters", description="Dead letters: docs/dead-letters.md")
    commands = parser.add_subparsers(dest="command", required=True)
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--queue", help="where they died; also one that is not the stack's any more")
    which.add_argument("--task", help="name of the task")
    which.add_argument("--reason", help="why they died, one word")
    which.add_argument(
        "--since", type=_moment, metavar="TIME", help="died since: 90m, 12h, 3d ago, or 2026-10-01T12:00"
    )
    which.add_argument("--until", type=_moment, metavar="TIME", help="died before")
    states = ("unhandled", *STATES, "all")
    which.add_argument("--state", choices=states, default="unhandled", help="default: unhandled, those that wait")
    handle = argparse.ArgumentParser(add_help=False)
    handle.add_argument("ids", nargs="*", metavar="ID", help="letters; without any, those that the options choose")
    handle.add_argument("--all", action="store_true", help="every letter that waits")
    handle.add_argument("--dry-run", action="store_true", help="only say what would be done")
    handle.add_argument("--by", default=_me(), help="who does it, for the record (default: %(default)s)")

    listing = commands.add_parser("list", parents=[which], help="letters, the oldest first")
    showing = commands.add_parser("show", help="everything about letters")
    showing.add_argument("ids", nargs="+", metavar="ID")
    replaying = commands.add_parser("replay", parents=[which, handle], help="publish them again, each once")
    replaying.add_argument("--to", metavar="QUEUE", help="another queue than theirs; needed if that is gone")
    commands.add_parser("discard", parents=[which, handle], help="put them aside; they are kept until they expire")
    commands.add_parser("drain", help="move the dead lists into the store now; the dead_letter service does it always")
    for command in (listing, showing):
        command.add_argument("--json", action="store_true", help="for programs")
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = ("ids", "all", "queue", "task", "reason", "since", "until")
    if options.command in ("replay", "discard") and not any(getattr(options, name) for name in chosen):
        parser.error(f"{options.command} what? Name letters, choose some by an option, or say --all")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
