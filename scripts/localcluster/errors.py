"""The errors of the local cluster."""

from __future__ import annotations


class LocalClusterError(Exception):
    """The local cluster cannot do what was asked; the message is one sentence for people."""


class NodeError(LocalClusterError):
    """A node refused a command or did not answer it in time."""
