"""Letters as text for people, and as JSON for programs. Bodies are shown only if they are JSON: pickle is not read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from service.deadletters.letter import Letter, Summary, head, storable

#: Characters of an exception that a list shows.
WIDTH = 60


def moment(milliseconds: int) -> str:
    """A Unix time in milliseconds for people, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def table(letters: Iterable[Summary]) -> str:
    """One line for each letter, below the names of the columns."""
    rows = [("id", "died", "queue", "reason", "state", "task", "exception")]
    rows += [
        (
            *(letter.id, moment(letter.died), letter.queue, letter.reason, letter.state),
            *(f"{letter.task}[{letter.task_id}]" if letter.task else "-", _short(letter.exception)),
        )
        for letter in letters
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def document(letter: Summary) -> dict[str, Any]:
    """A letter for JSON."""
    values = asdict(letter)
    if isinstance(letter, Letter):
        del values["payload"]
        values |= {"message": head(letter.payload), "body": body(letter)}
    return values


def body(letter: Letter) -> Any:
    """The message's body if it is JSON, else a sentence about it."""
    message = head(letter.payload)
    _, _, raw = letter.payload.partition(b"\n")
    if not message:
        return f"not a message: {len(letter.payload)} bytes"
    headers, kind = message.get("headers"), message.get("content-type")
    compressed = headers.get("compression") if isinstance(headers, dict) else None
    if kind != "application/json" or compressed:
        return f"not shown: {len(raw)} bytes of {kind}" + (f", {compressed}" if compressed else "")
    try:
        return json.loads(raw)
    except ValueError:
        return f"not JSON: {len(raw)} bytes"


def page(letter: Letter) -> str:
    """Everything about a letter."""
    lines = [
        f"id          {letter.id}",
        f"task        {letter.task or '-'}[{letter.task_id or '-'}]",
        f"queue       {letter.queue}, priority {letter.priority}",
        f"died        {moment(letter.died)} of {letter.reason}"
        + (f", on {letter.worker}" if letter.worker else "")
        + f", lost {letter.losses} times, given back {letter.returns} times",
        f"state       {letter.state}" + _handling(letter),
        f"arguments   {json.dumps(body(letter), ensure_ascii=False)}",
    ]
    headers = head(letter.payload).get("headers")
    if isinstance(headers, dict):
        lines.append(f"retries     {headers.get('retries', 0)}, sent by {headers.get('origin') or 'nobody known'}")
    if letter.exception:
        lines.append(f"exception   {letter.exception}")
    if letter.traceback:
        lines += ["", letter.traceback.rstrip()]
    # Arguments may hold what no terminal can show.
    return storable("\n".join(lines))


def _handling(letter: Summary) -> str:
    if not letter.handled_at:
        return ""
    where = f" to {letter.target}" if letter.target else ""
    return f" by {letter.handled_by} at {moment(letter.handled_at)}{where}"
