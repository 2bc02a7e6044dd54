"""`python -m scripts.preview STACK` shows what the stack consists of."""

import sys

from scripts.preview.tree import lines
from scripts.render.show import show

if __name__ == "__main__":
    sys.exit(show("scripts.preview", __doc__, lines))
