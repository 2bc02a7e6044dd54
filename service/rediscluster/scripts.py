"""The Lua scripts as files: those that work on a queue's keys stand behind the shared functions of `lua/lib.lua`."""

from __future__ import annotations

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
    folder = files(__package__).joinpath("lua")
    source = folder.joinpath(f"{name}.lua").read_text("utf-8")
    if name not in _OWN_KEYS:
        first, _, body = source.partition("\n")
        source = f"{first}\n{folder.joinpath('lib.lua').read_text('utf-8')}\n{body}"
    return script(name, source)


def script(name: str, source: str) -> Script:
    """A script from its source."""
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())
