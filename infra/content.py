"""A fingerprint of everything that goes into the image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

#: The build context that `.dockerignore` lets through; the two must agree (tests/infra checks it).
INCLUDED: Final = ("service", "requirements/service.txt", ".dockerignore")


def context_files(root: Path) -> Iterator[Path]:
    """Yield the files of the build context below `root`, sorted."""
    for entry in INCLUDED:
        path = root / entry
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in found:
            if file.is_file() and not any(map(_ignored, file.relative_to(root).parts)):
                yield file


def _ignored(part: str) -> bool:
    return part == "__pycache__" or part.endswith(".pyc") or (part.startswith(".") and part.endswith("_cache"))


def image_tag(root: Path, build: Mapping[str, str]) -> str:
    """Return a tag that changes exactly when the image would.

    Args:
        root: The repository.
        build: What else decides about the image, such as its base.

    Returns:
        Sixteen hexadecimal digits.
    """
    digest = hashlib.sha256()
    for key, value in sorted(build.items()):
        digest.update(f"{key}={value}\0".encode())
    for file in context_files(root):
        content = file.read_bytes()
        # pulumi-docker rebuilds when a mode changes; the same tag twice would be refused by the repository.
        header = (file.relative_to(root).as_posix(), oct(file.stat().st_mode), str(len(content)))
        digest.update("\0".join(header).encode() + b"\0" + content)
    return digest.hexdigest()[:16]
