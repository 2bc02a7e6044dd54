"""How the demo ends before its time."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the message is one sentence for people."""


class StoppedError(Exception):
    """Somebody asked the demo to stop.

    Attributes:
        signum: The signal that did.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
