"""The pure parts: where kombu puts things, what is moved where, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kombu.transport.redis import Channel

from service.bridge.messages import Label, Taken, UnreadableError, parse_entry, translate
from service.bridge.stock import Layout, not_a_task_queue, origin, routed_to
from service.bridge.survey import Held, Inventory, Wishes, survey

KNOWN = Wishes(("celery", "data_queue"))


@pytest.mark.parametrize("steps", [(0, 3, 6, 9), tuple(range(10)), (0,), (1, 5), (2,)])
@pytest.mark.parametrize("priority", [None, -1, 0, 1, 4, 9, 12, "5", "x"])
def test_steps_and_lists_are_those_of_kombu(steps: tuple[int, ...], priority: Any) -> None:
    channel: Any = Channel.__new__(Channel)
    channel.priority_steps = list(steps)
    layout = Layout(steps=steps)
    theirs = channel._q_for_pri("q", channel._get_message_priority({"properties": {"priority": priority}}))
    ours = layout.list_name("q", layout.step(priority))
    assert ours == theirs
    assert layout.split(ours) == ("q", layout.step(priority))


@pytest.mark.parametrize("steps", [(), (3, 0), (0, 0), (0, 10), (-1, 3)])
def test_impossible_steps_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected rising numbers from 0 to 9"):
        Layout(steps=steps)


@pytest.mark.parametrize("name", ["data:1x", "data:0", ":3", "data:", "da:ta"])
def test_what_only_resembles_a_priority_list_is_a_queue(name: str) -> None:
    assert Layout(separator=":").split(name) == (name, 0)


@pytest.mark.parametrize(
    ("queue", "exchange", "reason"),
    [
        ("celery@host.celery.pidbox", "", "remote control"),
        ("7c9f.reply", "reply.celery.pidbox", "remote control"),
        ("celeryev.7c9f2c3e", "", "events"),
        ("mine", "celeryev", "events"),
        ("bcast.7c9f2c3e", "", "broadcast"),
        ("7c9f2c3e-68a5-4f4d-8f2c-3b1a3c0d9d11", "", "replies"),
        ("shop_celery-taskset-meta-7c9f.j", "", "results"),
        ("celery", "celery", None),
        ("7c9f2c3e", "", None),
    ],
)
def test_queues_that_are_not_for_tasks(queue: str, exchange: str, reason: str | None) -> None:
    assert not_a_task_queue(queue, [exchange]) == reason


def test_messages_lead_back_to_their_queues() -> None:
    table = (("a.#", r"^a\..*?$", "topic"), ("a.b", "", "direct"))
    assert routed_to(table, "a.b") == ["direct", "topic"]
    assert routed_to(table, "a.c") == ["topic"]
    assert origin("", "q", {}) == ["q"]
    assert origin("", "", {}) == []
    assert origin("gone", "q", {}) == []


def test_a_survey_counts_everything_once() -> None:
    inventory = Inventory(
        lists={"celery": 2, "celery\x06\x163": 1, "cache": 9, "reports": 4, "x.pidbox": 1},
        like_messages={"celery", "reports", "x.pidbox"},
        bindings={"e": (("k", "", "idle"),)},
        held=(Held("1", 1.0, ("celery",)), Held("2", None, ("gone",)), Held("3", 1.0, (), "strange")),
        taken=3,
    )
    found = survey(inventory, Layout(), KNOWN)
    assert found.queues["celery"].ready == {0: 2, 3: 1}
    assert found.queues["celery"].count == 4
    assert "cache" not in found.queues
    assert found.queues["idle"].count == 0
    assert found.kept == {("x.pidbox", "remote control"): 1}
    assert [sentence.split(":")[0] for sentence in found.refusals] == ["queue 'gone'", "queue 'reports'"]
    assert found.left == 4 + 4 + 1 + 1 + 3
    assert found.routes == {"celery": "celery", "data_queue": "data_queue"}


def test_a_label_survives_whatever_the_message_contains() -> None:
    label = Label("name\n{}", "celery", None)
    raw = b"a\nb\n\xff"
    assert parse_entry("1", label.dump().encode() + b"\n" + raw) == Taken("1", label, raw)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"1", b"[]", b"{}", b'{"properties": {}}', b'{"body": "", "properties": []}', b"\xff"]
)
@pytest.mark.parametrize("held", [True, False])
def test_what_is_no_envelope_is_unreadable(raw: bytes, held: bool) -> None:
    with pytest.raises(UnreadableError):
        translate(Taken("1", Label("q", "q", None if held else 0), raw), Layout(), {})


def test_only_priority_and_address_change() -> None:
    message: dict[str, Any] = {
        "body": "AP8=",
        "content-type": "x",
        "more": [1.5, None, 2**70],
        "headers": {"group": "g", "when": {"__type__": "datetime", "__value__": "2024"}},
        "properties": {
            "delivery_info": {"exchange": "e", "routing_key": "r", "priority": 3},
            "priority": 4,
            "body_encoding": "base64",
        },
    }
    moved = translate(Taken("1", Label("q", "new", 3), json.dumps(message).encode()), Layout(), {})
    head, _, body = moved.payload.partition(b"\n")
    assert body == b"\x00\xff"
    del message["body"]
    assert json.loads(head) == message | {
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": "new", "priority": 7},
            "priority": 7,
        },
    }
    assert (moved.priority, moved.step, moved.grouped, moved.due_ms) == (7, 3, True, 0)
