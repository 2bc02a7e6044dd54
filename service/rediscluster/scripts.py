"""The Lua scripts as files: those that work on a queue's keys stand behind the shared functions of `lua/lib.lua`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files

#: Scripts that work on keys of their own and not on a queue's.
_OWN_KEYS = frozenset({"broadcast", "store", "increment"})


@dataclass(frozen=True)
class Script:
    """A script and its SHA-1, by which Redis knows it."""

    name: str
    source: str
    sha: str


@cache
def load(name: str) -> Script:
    """Read a script of the package.

    Scripts that settle what somebody holds run in a full memory too (`allow-oom`): refusing renewals and acks would
    let every lease lapse at once. Each file's first line says so.

    Raises:
        FileNotFoundError: There is no such script.
    """
    text = source(name)
    if name not in _OWN_KEYS:
        first, _, body = text.partition("\n")
        text = "\n".join([first, *_needed(body), body])
    return script(name, text)


def _needed(body: str) -> list[str]:
    """The parts of the library that a script uses, itself or through others: each costs time in every run."""
    parts = re.split(r"\n\n(?=--|local )", source("lib"))
    wanted = set(re.findall(r"\w+", body))
    found: list[str] = []
    for part in reversed(parts):
        # A part uses only what stands before it.
        names = re.findall(
            r"\w+", " ".join(re.findall(r"^local (?:function )?([\w, \n]+?)\s*[=(]", part, re.MULTILINE))
        )
        if wanted.intersection(names):
            wanted.update(re.findall(r"\w+", re.sub(r"--.*", "", part)))
            found.insert(0, part)
    return found


def source(name: str) -> str:
    """The text of a file of the package's `lua`."""
    return files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


def script(name: str, source: str) -> Script:
    """A script from its source."""
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())
