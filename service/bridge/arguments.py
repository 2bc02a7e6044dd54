"""The command line: what is moved from where to where. Wrong values are refused before anything connects."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from service import fleet, queues
from service.connection import broker_options
from service.rediscluster.errors import ConfigurationError
from service.rediscluster.options import Options, masked, parse
from service.settings import SettingsError, load_settings

from . import __doc__ as _summary
from .mover import Rules
from .stock import DEFAULT_SEPARATOR, DEFAULT_STEPS, Layout
from .survey import Wishes

#: The old broker's and the cluster's URL, so that their passwords need not stand among the arguments.
FROM_VARIABLE, TO_VARIABLE = "BRIDGE_FROM", "BRIDGE_TO"
TABLE_VARIABLE = "FLEET_QUEUE_TABLE"
_CERTIFICATES = {"CERT_REQUIRED": "required", "CERT_OPTIONAL": "optional", "CERT_NONE": "none"}

_EPILOG = """\
status shows what is there; drain moves until nothing is left that can be moved now; follow goes on until SIGTERM.
Exit status: 0 nothing is left, 1 something is left, 2 refused and nothing was moved, 3 interrupted: run it again.
"""


class UsageError(Exception):
    """An argument or setting is wrong; the message says which, and what would be right."""


def parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    made = argparse.ArgumentParser(
        prog="python -m service.bridge",
        description=_summary,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("command", choices=("status", "drain", "follow"))
    old = made.add_argument_group("the old broker: its Celery settings")
    old.add_argument(
        "--from",
        dest="from_url",
        metavar="URL",
        default=os.environ.get(FROM_VARIABLE),
        help=f"redis://[user:password@]host[:port][/db] or rediss://…; or the variable {FROM_VARIABLE}",
    )
    old.add_argument("--from-prefix", default="", metavar="TEXT", help="global_keyprefix")
    old.add_argument(
        "--priority-steps", type=_steps, default=DEFAULT_STEPS, metavar="N,N…", help="priority_steps (default: 0,3,6,9)"
    )
    old.add_argument("--sep", default=DEFAULT_SEPARATOR, metavar="TEXT", help=r"sep (default: \x06\x16)")
    old.add_argument("--unacked-key", default="unacked", metavar="KEY", help="unacked_key (default: unacked)")
    old.add_argument(
        "--unacked-index-key", default="unacked_index", metavar="KEY", help="unacked_index_key (default: unacked_index)"
    )
    old.add_argument(
        "--visibility-timeout",
        type=_positive,
        default=3600.0,
        metavar="SECONDS",
        help="visibility_timeout, at least the old workers' (default: 3600)",
    )
    old.add_argument("--workers-stopped", action="store_true", help="no old worker runs: take at once what they held")
    new = made.add_argument_group("the fleet")
    new.add_argument(
        "--to",
        dest="to_url",
        metavar="URL",
        default=os.environ.get(TO_VARIABLE),
        help=f"rediscluster://… or redisclusters://…; or the variable {TO_VARIABLE} "
        "(default: the service's FLEET_… settings)",
    )
    new.add_argument(
        "--to-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="transport option that goes with --to, such as key_prefix or ssl_ca_certs",
    )
    new.add_argument(
        "--replicas",
        type=_count,
        default=1,
        metavar="N",
        help="replicas that must confirm a batch before the old Redis forgets it (default: 1)",
    )
    moved = made.add_argument_group("what is moved")
    moved.add_argument("--queue", action="append", default=[], metavar="OLD=NEW", help="where the names differ")
    moved.add_argument(
        "--leave",
        action="append",
        default=[],
        metavar="PATTERN",
        help="queues that stay where they are, such as reports or 'shop:*'",
    )
    moved.add_argument(
        "--priority",
        action="append",
        default=[],
        metavar="STEP=PRIORITY",
        help="the fleet's priority (0-10) for an old step (default: 10 - STEP, so that 0 becomes 10)",
    )
    moved.add_argument("--batch", type=_positive_count, default=100, metavar="N", help="messages at a time")
    moved.add_argument(
        "--interval",
        type=_positive,
        default=0.5,
        metavar="SECONDS",
        help="follow: between two looks at empty queues (default: 0.5)",
    )
    return made


def layout_of(args: argparse.Namespace) -> Layout:
    """Where the old broker's messages are.

    Raises:
        UsageError: The steps or the separator cannot be right.
    """
    if not args.sep:
        raise UsageError("--sep: expected the old transport option sep, which is not empty")
    try:
        return Layout(args.from_prefix, args.sep, args.priority_steps, args.unacked_key, args.unacked_index_key)
    except ValueError as error:
        raise UsageError(f"--priority-steps {error}") from error


def wishes_of(args: argparse.Namespace) -> Wishes:
    """What goes where.

    Raises:
        UsageError: A pair is malformed, or a queue is both moved and left.
    """
    wishes = Wishes(_known_queues(), dict(_pair("--queue", "OLD=NEW", text) for text in args.queue), tuple(args.leave))
    both = [queue for queue in wishes.renamed if wishes.leaves(queue)]
    if both:
        raise UsageError(f"--queue {both[0]}=…: --leave says that it stays; drop one of the two")
    return wishes


def rules_of(args: argparse.Namespace, layout: Layout) -> Rules:
    """How messages are moved.

    Raises:
        UsageError: A priority is not one.
    """
    priorities = dict(_priority(text, layout) for text in args.priority)
    return Rules(args.batch, priorities, args.visibility_timeout, args.workers_stopped, args.interval)


def old_url_of(args: argparse.Namespace) -> str:
    """The old broker's URL as redis-py takes it.

    Raises:
        UsageError: It is missing, or not of a single Redis.
    """
    url: str = args.from_url or ""
    if not url:
        raise UsageError(f"--from: give the old broker's URL, redis://host:port/0, here or in {FROM_VARIABLE}")
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise UsageError(f"--from {masked(url)}: expected redis:// or rediss://, the URL of a stock Celery broker")
    if not parts.path.strip("/").isdecimal() and parts.path.strip("/"):
        raise UsageError(f"--from {masked(url)}: expected the number of a database behind the host, such as /0")
    query = dict(parse_qsl(parts.query))
    if query.get("ssl_cert_reqs") in _CERTIFICATES:
        query["ssl_cert_reqs"] = _CERTIFICATES[query["ssl_cert_reqs"]]
    return parts._replace(query=urlencode(query)).geturl()


def target_of(args: argparse.Namespace) -> Options:
    """How to reach the cluster: what `--to` says, else the service's settings.

    Raises:
        UsageError: One of them is wrong.
    """
    given = {"client_name": "bridge"}
    try:
        if args.to_url:
            options = dict(_pair("--to-option", "NAME=VALUE", text) for text in args.to_option)
            return parse(args.to_url, {name: _value(text) for name, text in options.items()} | given)
        if args.to_option:
            raise UsageError(f"--to-option: it goes with --to or {TO_VARIABLE}; the service's settings have their own")
        settings = load_settings()
        own = {**broker_options(settings), "key_prefix": fleet.BROKER_PREFIX, "partitions": settings.partitions}
        return parse(settings.broker_url, own | given)
    except ConfigurationError as error:
        raise UsageError(f"--to: {error}") from error
    except SettingsError as error:
        raise UsageError(str(error)) from error


def _known_queues() -> tuple[str, ...]:
    """The fleet's queues: also with `--to`, the one setting that counts is their table."""
    table = os.environ.get(TABLE_VARIABLE)
    try:
        return tuple(queue.name for queue in queues.parse(table)) if table else fleet.QUEUE_NAMES
    except ValueError as error:
        raise UsageError(f"{TABLE_VARIABLE}: {error}") from error


def _value(text: str) -> Any:
    """Numbers, lists and objects as JSON has them; the rest is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _pair(option: str, form: str, text: str) -> tuple[str, str]:
    left, separator, right = text.rpartition("=") if option == "--queue" else text.partition("=")
    if not (left and separator and right):
        raise UsageError(f"{option} {text}: expected {form}")
    return left, right


def _priority(text: str, layout: Layout) -> tuple[int, int]:
    step, priority = _pair("--priority", "STEP=PRIORITY", text)
    if not step.isdecimal() or int(step) not in layout.steps:
        raise UsageError(f"--priority {text}: {step} is not among the steps {','.join(map(str, layout.steps))}")
    if not priority.isdecimal() or int(priority) > fleet.MAX_PRIORITY:
        raise UsageError(f"--priority {text}: expected a priority from 0 to {fleet.MAX_PRIORITY}, 10 is served first")
    return int(step), int(priority)


def _steps(text: str) -> Sequence[int]:
    try:
        return tuple(int(step) for step in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers from 0 to 9 such as 0,3,6,9") from None


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds above 0")
    return number


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number, 0 or more")
    return int(text)


def _positive_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 10000")
    return int(text)
