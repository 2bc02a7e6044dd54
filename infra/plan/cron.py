"""When a scheduled scaling happens, as Application Auto Scaling writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_EXAMPLE: Final = "minutes, hours, day of month, month, day of week, year, such as 0 8 ? * MON-FRI *"


@dataclass(frozen=True)
class _Field:
    """One field of a cron expression.

    Attributes:
        name: What it is called.
        low: Smallest number.
        high: Largest number.
        names: Words for the numbers from `low` on.
        special: What else an entry may be, as a pattern.
    """

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    special: str | None = None

    def number(self, text: str) -> int | None:
        """The number that `text` means; None if it means none."""
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.low
        return int(text) if text.isdecimal() and self.low <= int(text) <= self.high else None

    def fits(self, entry: str) -> bool:
        """Whether `entry` is a value, a range, a step or one of the field's own forms."""
        if self.special and re.fullmatch(self.special, entry, re.IGNORECASE):
            return True
        base, slash, step = entry.partition("/")
        if slash and not (step.isdecimal() and int(step) > 0):
            return False
        if base == "*":
            return True
        first, dash, last = base.partition("-")
        low, high = self.number(first), self.number(last if dash else first)
        return low is not None and high is not None and (low <= high or bool(self.names))


_FIELDS: Final = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("day of month", 1, 31, special=r"\?|L|LW|([1-9]|[12]\d|3[01])W"),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 1, 7, _DAYS, special=r"\?|([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)?L|[1-7]#[1-5]"),
    _Field("year", 1970, 2199),
)


def check_cron(text: str) -> str:
    """Return the six fields of a cron expression if AWS would take them.

    Raises:
        ValueError: Names the field that is wrong.
    """
    entries = text.split()
    if len(entries) != len(_FIELDS):
        raise ValueError(f"{text!r} has {len(entries)} fields, not 6: {_EXAMPLE}")
    for field, entry in zip(_FIELDS, entries, strict=True):
        if not all(field.fits(part) for part in entry.split(",")):
            kind = f"{field.low} to {field.high}" + (
                f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
            )
            raise ValueError(f"{entry!r} in {text!r} is no {field.name}: {kind}, *, or a list, range or step of them")
    if [entries[2], entries[4]].count("?") != 1:
        raise ValueError(f"{text!r} needs ? as day of month or as day of week, and a value in the other: {_EXAMPLE}")
    return text


def check_at(text: str) -> str:
    """Return a moment if AWS would take it.

    Raises:
        ValueError: Says how it is written.
    """
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise ValueError(f"{text!r} is not a moment such as 2026-12-24T08:00:00, without a time zone") from None
    return text
