from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow(minutes=5)
@pytest.mark.timeout(1200)
def test_demo_runs_to_its_end_and_succeeds() -> None:
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-m", "scripts.demo"], cwd=root, check=True, timeout=1100)
