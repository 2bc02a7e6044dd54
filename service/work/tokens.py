"""Token statistics of Python source files."""

from __future__ import annotations

import keyword
import token
import tokenize
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict


class Statistics(TypedDict):
    """Counts over one file or many; all of them can be added up.

    Attributes:
        files: Files counted.
        unreadable: Files that are not Python source, by the kind of error.
        bytes: Their size.
        lines: Lines, as the tokenizer counts them.
        tokens: Tokens by exact type, such as `NAME` or `LPAR`.
        keywords: Keywords by word.
    """

    files: int
    unreadable: dict[str, int]
    bytes: int
    lines: int
    tokens: dict[str, int]
    keywords: dict[str, int]


def count_tokens(path: Path) -> Statistics:
    """Count the tokens of one file.

    A file in an unknown encoding or that cannot be tokenized counts as unreadable, whole: what was read of it before
    the error is not counted, so the result does not depend on where the error is.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
    """
    size = path.stat().st_size
    tokens: Counter[str] = Counter()
    keywords: Counter[str] = Counter()
    lines = 0
    try:
        with path.open("rb") as file:
            for part in tokenize.tokenize(file.readline):
                tokens[token.tok_name[part.exact_type]] += 1
                if part.type == token.NAME and keyword.iskeyword(part.string):
                    keywords[part.string] += 1
                lines = max(lines, part.end[0])
    # tokenize raises IndentationError, a SyntaxError, for bad indentation and bad encodings.
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError) as error:
        return _statistics(unreadable={type(error).__name__: 1}, size=size)
    return _statistics(size=size, lines=lines, tokens=tokens, keywords=keywords)


def merge(parts: Iterable[Statistics]) -> Statistics:
    """Add up statistics; the order of the parts does not matter."""
    total: Statistics = {"files": 0, "unreadable": {}, "bytes": 0, "lines": 0, "tokens": {}, "keywords": {}}
    for part in parts:
        total["files"] += part["files"]
        total["bytes"] += part["bytes"]
        total["lines"] += part["lines"]
        _add(total["unreadable"], part["unreadable"])
        _add(total["tokens"], part["tokens"])
        _add(total["keywords"], part["keywords"])
    return total


def _add(total: dict[str, int], part: dict[str, int]) -> None:
    for key, count in part.items():
        total[key] = total.get(key, 0) + count


def _statistics(
    *,
    size: int,
    lines: int = 0,
    unreadable: dict[str, int] | None = None,
    tokens: Counter[str] | None = None,
    keywords: Counter[str] | None = None,
) -> Statistics:
    return {
        "files": 1,
        "unreadable": unreadable or {},
        "bytes": size,
        "lines": lines,
        "tokens": dict(tokens or {}),
        "keywords": dict(keywords or {}),
    }
