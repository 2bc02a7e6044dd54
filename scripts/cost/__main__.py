"""`python -m scripts.cost STACK` estimates what the stack costs a month."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from scripts.cost.bill import bill, vcpus
from scripts.cost.prices import UnknownPriceError
from scripts.cost.report import lines
from scripts.render import Render
from scripts.render.show import show


def _bill(stack: Render) -> Iterator[str]:
    return lines(stack.stack, bill(stack), vcpus(stack))


if __name__ == "__main__":
    sys.exit(show("scripts.cost", __doc__, _bill, UnknownPriceError))
