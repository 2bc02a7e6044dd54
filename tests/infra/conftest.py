"""Both stacks, rendered once for all tests."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.render import Render
from scripts.render.render import parse

ROOT = Path(__file__).parents[2]
STACKS = ("staging", "prod")


def run_render(stack: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    command = [sys.executable, "-m", "scripts.render", stack]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def printed() -> dict[str, subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(STACKS, pool.map(run_render, STACKS), strict=True))


@pytest.fixture(scope="session")
def renders(printed: dict[str, subprocess.CompletedProcess[str]]) -> dict[str, Render]:
    return {stack: parse(json.loads(done.stdout)) for stack, done in printed.items()}


@pytest.fixture(scope="session")
def staging(renders: dict[str, Render]) -> Render:
    return renders["staging"]


@pytest.fixture(scope="session")
def prod(renders: dict[str, Render]) -> Render:
    return renders["prod"]


@pytest.fixture(scope="session", params=STACKS)
def stack(request: pytest.FixtureRequest, renders: dict[str, Render]) -> Render:
    return renders[request.param]
