"""Credentials that change while the fleet runs: every process reads them from a file for each connection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from redis.credentials import CredentialProvider


@dataclass(frozen=True)
class FileCredentials(CredentialProvider):
    """User name and password as the file says now."""

    path: str

    def get_credentials(self) -> tuple[str, str]:
        """Asked by redis-py before each connection."""
        user, password = json.loads(Path(self.path).read_text())
        return user, password

    def change(self, user: str, password: str) -> None:
        """From now on."""
        written = Path(self.path).with_suffix(".new")
        written.write_text(json.dumps([user, password]))
        # Never half written for a process that reads it now.
        written.replace(self.path)
