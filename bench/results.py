"""The measured figures in one file, which `make capacity` reads."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import redis

from bench.pinning import CLIENTS, SERVERS

ROOT = Path(__file__).parents[1]
#: The figures of the last whole run; tracked.
FILE = ROOT / "bench" / "results" / "latest.json"


class ResultsError(Exception):
    """The file is missing or not one of ours; the message is one sentence for people."""


@dataclass
class Results:
    """What one run measured.

    Attributes:
        date: Of its beginning, UTC.
        commit: What was measured; with `+` if files had been changed since.
        machine: What it ran on, for people.
        rounds: How many.
        figures: By row and side, one per round.
        unsteady: By group, the rounds in which the machine's own speed changed.
    """

    date: str
    commit: str
    machine: dict[str, str]
    rounds: int
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    unsteady: dict[str, int] = field(default_factory=dict)

    def add(self, row: str, side: str, values: list[float]) -> None:
        """Note figures."""
        self.figures.setdefault(row, {}).setdefault(side, []).extend(values)

    def of(self, row: str) -> Mapping[str, list[float]]:
        """The figures of a row by side."""
        return self.figures.get(row, {})

    def save(self, file: Path = FILE) -> None:
        """Write the file."""
        file.parent.mkdir(exist_ok=True)
        rounded = {
            row: {side: [float(f"{value:.5g}") for value in values] for side, values in sides.items()}
            for row, sides in self.figures.items()
        }
        file.write_text(json.dumps(asdict(self) | {"figures": rounded}, indent=1, ensure_ascii=False) + "\n")


def load(file: Path = FILE) -> Results:
    """Read the file.

    Raises:
        ResultsError: It is missing or malformed.
    """
    try:
        return Results(**json.loads(file.read_text()))
    except FileNotFoundError:
        raise ResultsError(f"there are no measured figures in {_short(file)}: run `make bench`") from None
    except (ValueError, TypeError) as error:
        raise ResultsError(f"{_short(file)} holds no figures of a benchmark ({error}): run `make bench`") from error


def _short(file: Path) -> str:
    return str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file)


def begin(rounds: int, server: redis.Redis) -> Results:
    """Empty results of a run that starts now."""
    return Results(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), _commit(), _machine(server), rounds)


def _commit() -> str:
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("+" if _git("status", "--porcelain", "service") else "") if head else "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout.strip()


def _machine(server: redis.Redis) -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()}, servers on {SERVERS}, clients on {CLIENTS}",
        "system": f"{platform.system()} {platform.release()}",
        "redis": str(server.info("server")["redis_version"]),
        "python": platform.python_version(),
        "celery": version("celery"),
        "kombu": version("kombu"),
        "redis-py": version("redis"),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
