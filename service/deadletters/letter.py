"""A dead letter: plain values, and which of them somebody asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from service.rediscluster.deadlist import DeadMessage
from service.rediscluster.message_format import unpack

#: Nobody cared yet; somebody is publishing it again; it was published again; it is not wanted any more.
State = Literal["open", "replaying", "replayed", "discarded"]
STATES: tuple[State, ...] = get_args(State)
#: Those that wait for somebody.
UNHANDLED: tuple[State, ...] = ("open", "replaying")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a list of letters shows.

    Attributes:
        id: Identifies the letter: the id of the message, which every delivery of it has in common.
        queue: Where it died.
        task: The task's name; empty if the message names none.
        task_id: Its id; empty if the message has none.
        reason: One word: why it is dead.
        exception: What was raised; empty where no task ran.
        died: Unix time in milliseconds.
        state: What has become of it.
        handled_at: Unix time in milliseconds; 0 while nobody has.
        handled_by: Who replayed or discarded it.
        target: The queue that it was published to again.
    """

    id: str
    queue: str
    task: str
    task_id: str
    reason: str
    exception: str
    died: int
    state: State = "open"
    handled_at: int = 0
    handled_by: str = ""
    target: str = ""


@dataclass(frozen=True, kw_only=True)
class Letter(Summary):
    """A letter with its content.

    Attributes:
        traceback: Of the exception.
        worker: Celery's name of the worker that gave it up; empty where the cluster did.
        priority: 0-10.
        losses: How often it was lost or requeued.
        returns: How often it was given back.
        payload: The message as it was published, unread.
    """

    traceback: str = ""
    worker: str = ""
    priority: int = 0
    losses: int = 0
    returns: int = 0
    payload: bytes = b""


@dataclass(frozen=True)
class Handling:
    """What somebody does with a letter.

    Attributes:
        state: Its new state.
        at: Unix time in milliseconds.
        by: Who.
        target: The queue that it is published to again.
    """

    state: State
    at: int
    by: str
    target: str = ""


@dataclass(frozen=True)
class Selection:
    """Which letters somebody asks for: those that fit everything that is given.

    Attributes:
        queue: Where it died.
        task: The task's name.
        reason: Why.
        since: Died at this moment or later, Unix time in milliseconds.
        until: Died before this moment.
        states: What has become of it.
    """

    queue: str | None = None
    task: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    states: tuple[State, ...] = UNHANDLED

    def fits(self, letter: Summary) -> bool:
        """Whether a letter is among those."""
        return (
            letter.state in self.states
            and self.queue in (None, letter.queue)
            and self.task in (None, letter.task)
            and self.reason in (None, letter.reason)
            and (self.since is None or letter.died >= self.since)
            and (self.until is None or letter.died < self.until)
        )


def storable(text: str) -> str:
    """The text with lone surrogates written out: half a character, as in a file name, is none in UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def letter_of(message: DeadMessage) -> Letter:
    """The letter that an entry of a dead list becomes; only the message's head is read, never its body."""
    headers = head(message.payload).get("headers")
    known: Mapping[str, Any] = headers if isinstance(headers, dict) else {}
    return Letter(
        id=message.message_id,
        queue=message.place.queue,
        task=storable(str(known.get("task") or "")),
        task_id=storable(str(known.get("id") or "")),
        reason=message.reason,
        exception=storable(message.cause.exception),
        died=message.died,
        traceback=storable(message.cause.traceback),
        worker=storable(message.cause.worker),
        priority=message.priority,
        losses=message.losses,
        returns=message.returns,
        payload=message.payload,
    )


def head(payload: bytes) -> dict[str, Any]:
    """A message without its body; empty if nobody can read it."""
    try:
        return {name: value for name, value in unpack(payload).items() if name != "body"}
    except ValueError:
        return {}
