"""What can go wrong with the image on this machine."""

from __future__ import annotations


class ImageError(Exception):
    """The image cannot be built or run here; the text says why and what would help."""
