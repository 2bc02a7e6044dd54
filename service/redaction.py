"""Takes secrets out of text that is going to be logged: those that are known, and what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

#: Stands where a secret stood.
MASK: Final = "**"
#: Known secrets that are shorter are left: their letters are in every other word.
SHORTEST: Final = 6

_NAME: Final = r"(?:pass(?:word|wd|phrase)|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)[\w-]*"
_PATTERNS: Final = (
    # amqp://user:password@host
    (re.compile(r"(\w://[^\s:/@\"']*:)[^\s/@\"']+@"), rf"\1{MASK}@"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/-]{16,}=*", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|$)", re.DOTALL), MASK),
    # password=…, "api_key": "…"; in JSON inside JSON the quotes have backslashes.
    (
        re.compile(rf"""({_NAME}\\?["']?\s*[:=]\s*)(?:\\?(["']).*?\\?\2|[^\s"',;&}})\]\\]+)""", re.IGNORECASE),
        rf"\1{MASK}",
    ),
)
_SECRET_NAME: Final = re.compile(rf".*{_NAME}", re.IGNORECASE)


class Redaction:
    """Masks secrets in text and in values that become JSON."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the secrets that are known, as they are; they are also found percent-encoded."""
        known = {form for secret in secrets for form in (secret, quote(secret, safe="")) if len(secret) >= SHORTEST}
        # The longest first: one may be part of another.
        words = [re.escape(secret) for secret in sorted(known, key=len, reverse=True)]
        self._known = re.compile("|".join(words)) if words else None

    def text(self, text: str) -> str:
        """The text, with a mask for each secret."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def value(self, value: Any) -> Any:
        """The same for everything in a value; what is named like a secret is masked whatever it is."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                name: MASK if isinstance(name, str) and _SECRET_NAME.fullmatch(name) else self.value(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value
