"""`python -m service.bridge status|drain|follow`: see docs/moving-in.md."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from service.rediscluster.errors import ConfigurationError
from service.rediscluster.options import Options, masked

from . import arguments, report
from .arguments import UsageError
from .mover import Mover, RefusedError
from .old import OldBroker, SupersededError
from .survey import Survey, Wishes
from .target import Target

NOTHING_LEFT, LEFT, REFUSED, INTERRUPTED = range(4)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status, see `--help`.
    """
    args = arguments.parser().parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        layout = arguments.layout_of(args)
        url = arguments.old_url_of(args)
        wishes, rules, options = arguments.wishes_of(args), arguments.rules_of(args, layout), arguments.target_of(args)
    except UsageError as error:
        print(error, file=sys.stderr)
        return REFUSED
    old = OldBroker(_client(url), layout)
    target = Target(options, args.replicas)
    mover = Mover(old, target, wishes, rules)
    try:
        _check_old(old, url)
        _check_target(target, wishes, options)
        return _status(mover) if args.command == "status" else _run(mover, follow=args.command == "follow")
    except (UsageError, RefusedError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except redis.RedisError as error:
        print(f"nothing was moved. {_explain(error)}", file=sys.stderr)
        return INTERRUPTED
    finally:
        target.close()
        old.client.close()


def _client(url: str) -> redis.Redis:
    # Every request may be repeated: what was taken is returned again.
    retry = Retry(ExponentialBackoff(cap=2, base=0.1), 8)
    return redis.Redis.from_url(
        url, protocol=2, client_name="bridge", retry=retry, socket_timeout=30, socket_connect_timeout=5
    )


def _check_old(old: OldBroker, url: str) -> None:
    try:
        old.client.ping()
    except redis.RedisError as error:
        raise UsageError(f"--from {masked(url)}: {error}") from error


def _check_target(target: Target, wishes: Wishes, options: Options) -> None:
    where = ", ".join(f"{host}:{port}" for host, port in options.seeds)
    try:
        for old, new in wishes.renamed.items():
            if new not in wishes.known and not target.exists(new):
                known = ", ".join(wishes.known)
                raise UsageError(f"--queue {old}={new}: the fleet has no queue {new}; its queues are {known}")
        target.exists(next(iter(wishes.known)))
    except (redis.RedisError, ConfigurationError) as error:
        raise UsageError(f"the fleet's cluster at {where}: {error}") from error


def _status(mover: Mover) -> int:
    old = mover.old
    found = mover.look()
    print(report.summary(report.of_status(found, old.layout, old.now(), mover.rules.visibility, old.consumers())))
    return LEFT if found.left else NOTHING_LEFT


def _run(mover: Mover, *, follow: bool) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: mover.stopping.set())
    try:
        mover.begin()
        if follow:
            mover.follow(lambda found: _tell(mover, found))
        else:
            mover.drain()
        found = mover.look()
    except SupersededError:
        print("another bridge has begun to move this broker: this one ends, and the other goes on", file=sys.stderr)
        return INTERRUPTED
    except redis.RedisError as error:
        print(report.summary(report.of_moved(mover.tally)))
        print(f"interrupted, nothing is lost: run it again. {_explain(error)}", file=sys.stderr)
        return INTERRUPTED
    print(report.summary([*report.of_moved(mover.tally), *report.of_left(found)]))
    return LEFT if found.left else NOTHING_LEFT


def _explain(error: redis.RedisError) -> str:
    text = f"{type(error).__name__}: {error}"
    if "replicas confirmed" in text:
        return f"{text}. Without replicas, pass --replicas 0"
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return f"{text}. Give that Redis more maxmemory, or let its workers catch up"
    return text


def _tell(mover: Mover, found: Survey) -> None:
    logging.getLogger(__name__).info("%d moved so far, %d left", mover.tally.count, found.left)
    for sentence in found.refusals:
        logging.getLogger(__name__).warning("left: %s", sentence)


if __name__ == "__main__":
    sys.exit(main())
