"""From what the user wrote to a checked configuration, or to all errors at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, Final, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from infra.config.defaults import defaults, derive, merge
from infra.config.model import Fleet
from infra.config.network import network_defaults, network_problems
from infra.config.queue_defaults import queues
from infra.config.queues import Queue, Surroundings
from infra.config.schedules import unknown_queues
from infra.plan.names import PROJECT, check_stack
from service.fleet import ALL_QUEUES, DEAD_LETTER_QUEUE, DEFAULT_QUEUE, MAX_PRIORITY, Environment

#: The one key of this project in a stack file.
KEY: Final = f"{PROJECT}:fleet"
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")


class ConfigError(Exception):
    """The configuration is wrong.

    Attributes:
        problems: One line each: path as the user wrote it, value, what would be right.
    """

    def __init__(self, problems: list[str]) -> None:
        """Keep `problems` and show them one a line."""
        self.problems = problems
        super().__init__("\n".join(problems))


def region_problems(region: str | None) -> list[str]:
    """Return what is wrong with AWS' own key `aws:region`, None if the stack file does not have it."""
    if region is None:
        return ["aws:region: is missing; set it in the stack file, e.g. aws:region: eu-central-1"]
    if not _REGION.fullmatch(region):
        return [f"aws:region: {region!r} is not a region such as eu-central-1"]
    return []


def load(stack: str, document: object, keys: Iterable[str] = (), elsewhere: Iterable[str] = ()) -> Fleet:
    """Check a stack's configuration.

    Args:
        stack: The Pulumi stack's name; `staging` and `prod` name their environment, too.
        document: What the stack file holds under `celery-fleet:fleet`; None is the empty document.
        keys: Every key that it holds for this project.
        elsewhere: What is known to be wrong outside the document, to be told with the rest.

    Returns:
        The configuration with defaults filled in.

    Raises:
        ConfigError: Names every wrong value.
    """
    unknown = [f"{key}: unknown key; known here: {KEY}" for key in sorted(keys) if key != KEY]
    problems = [*elsewhere, *unknown]
    try:
        check_stack(stack)
    except ValueError as error:
        problems.append(f"stack: {error}")
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        raise ConfigError([*problems, f"fleet: {document!r} is not a mapping of keys to values"])

    environment = document.get("environment", stack)
    if environment not in get_args(Environment):
        known = " or ".join(get_args(Environment))
        problems.append(
            f"environment: {environment!r} is no environment; {known}"
            + ("" if "environment" in document else f" (stack {stack!r} does not name one: set it)")
        )
        environment = "staging"
    base = defaults(cast(Environment, environment))
    base["network"] = network_defaults(base["network"], document.get("network"))
    whole = derive(merge(base, {**document, "environment": environment}))
    given = document.get("queues", {})
    if isinstance(given, dict):
        whole["queues"] = queues(given, cast(Environment, environment))
    try:
        fleet = Fleet.model_validate_json(json.dumps(whole), context=_around(stack, whole))
    except ValidationError as error:
        # A list whose entries are all wrong counts as too short as well: that says nothing new.
        echoes = [d for d in error.errors() if d["type"] == "too_short" and d["input"]]
        echoes += _inherited(error.errors(), document)
        problems += [_line(detail) for detail in error.errors() if detail not in echoes]
    problems += [*_needed(given), *network_problems(document, whole), *unknown_queues(whole)]
    if problems:
        raise ConfigError(problems)
    return fleet.model_copy(update={"queues": _wanted(fleet)})


def _around(stack: str, whole: Mapping[str, Any]) -> Surroundings:
    shutdown, names = whole["shutdown"], whole["queues"]
    grace = shutdown.get("grace") if isinstance(shutdown, dict) else None
    return Surroundings(stack, tuple(names) if isinstance(names, dict) else (), grace if type(grace) is int else None)


def _needed(given: Any) -> list[str]:
    """Two queues cannot be switched off."""
    uses = {DEFAULT_QUEUE: "what belongs to no other queue goes there", DEAD_LETTER_QUEUE.name: "it keeps the letters"}
    return [
        f"queues.{name}.enabled: this queue cannot be switched off: {use}"
        for name, use in uses.items()
        if isinstance(given, dict) and isinstance(given.get(name), dict) and given[name].get("enabled") is False
    ]


def _inherited(details: list[ErrorDetails], document: Mapping[str, Any]) -> list[ErrorDetails]:
    """What is wrong in the results' cluster only because the broker's says so."""
    redis = document.get("redis")
    own = redis.get("results") if isinstance(redis, dict) else None
    wrong = {detail["loc"][1:2] for detail in details if detail["loc"][:1] == ("redis",)}
    return [
        detail
        for detail in details
        if detail["loc"][:2] == ("redis", "results") and detail["loc"][2:3] in wrong
        if isinstance(own, dict) and detail["loc"][2] not in own
    ]


def _wanted(fleet: Fleet) -> dict[str, Queue]:
    """Return the queues that are not switched off, in the order in which a worker of several looks at them."""
    wanted = [(name, queue) for name, queue in fleet.queues.items() if queue.enabled]
    return dict(sorted(wanted, key=lambda item: (item[0] == DEAD_LETTER_QUEUE.name, -item[1].priority)))


def _line(detail: ErrorDetails) -> str:
    path = [str(part) for part in detail["loc"] if part != "[key]"]
    value = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            text = f"unknown key; known here: {', '.join(_known(path[:-1]))}"
        case "missing" if path[0] == "queues" and path[-1] == "priority":
            known = ", ".join(queue.name for queue in ALL_QUEUES)
            text = f"is missing; a queue of your own says its priority, 0 to {MAX_PRIORITY}; built in are {known}"
        case "missing":
            text = "is missing"
        case "value_error":
            text = detail["msg"].removeprefix("Value error, ")
        case "too_short":
            text = "is empty; it needs at least one entry"
        case "string_too_short":
            text = "is empty"
        case _:
            wanted = detail["msg"].removeprefix("Input should be ")
            text = f"{json.dumps(value)} is wrong; it should be {wanted}"
    return f"{'.'.join(path)}: {text}"


def _known(path: list[str]) -> list[str]:
    """Return the keys that the model at `path` has."""
    kind: type[BaseModel] | Any = Fleet
    for part in path:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        else:
            kind = next(field.annotation for field in kind.model_fields.values() if field.alias == part)
        if get_origin(kind) in (Union, UnionType):
            kind = get_args(kind)[0]
    return [str(field.alias) for field in kind.model_fields.values()]
