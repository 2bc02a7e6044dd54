"""Checking events that another system delivered, before anybody acts on them."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TypedDict


class Verdict(TypedDict):
    """Whether an event may be used; `reason` is empty if so."""

    valid: bool
    kind: str
    reason: str


def checksum(body: str) -> str:
    """The checksum that a sender puts beside a body."""
    return hashlib.sha256(body.encode()).hexdigest()


def check_event(body: str, expected: str) -> Verdict:
    """Check an event's checksum and form: a JSON object with a text field `kind`.

    Args:
        body: The event as it was received.
        expected: The checksum that came with it.
    """
    if not hmac.compare_digest(checksum(body), expected):
        return {"valid": False, "kind": "", "reason": "checksum differs"}
    try:
        event = json.loads(body)
    except ValueError:
        return {"valid": False, "kind": "", "reason": "not JSON"}
    kind = event.get("kind") if isinstance(event, dict) else None
    if not isinstance(kind, str) or not kind:
        return {"valid": False, "kind": "", "reason": "no kind"}
    return {"valid": True, "kind": kind, "reason": ""}
