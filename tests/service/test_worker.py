"""The worker's command line, its heartbeat and its logs."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from service import heartbeat, logs
from service.settings import Settings
from service.worker import arguments, missing_modules, node_name


def option(argv: list[str], name: str) -> str | None:
    """The value that follows an option."""
    return argv[argv.index(name) + 1] if name in argv else None


def test_arguments_come_from_the_settings() -> None:
    """Queues, pool, size and level."""
    argv = arguments(Settings(queues=("sync_queue",), pool="gevent", concurrency=16, log_level="WARNING"))
    assert option(argv, "--queues") == "sync_queue"
    assert option(argv, "--pool") == "gevent"
    assert option(argv, "--concurrency") == "16"
    assert option(argv, "--loglevel") == "WARNING"
    assert option(argv, "--autoscale") is None


def test_autoscale_replaces_concurrency() -> None:
    """Celery takes the maximum first."""
    argv = arguments(Settings(concurrency=4, autoscale_min=2))
    assert option(argv, "--autoscale") == "4,2"
    assert option(argv, "--concurrency") is None


def test_structured_logs_have_no_banner() -> None:
    """A line that is not JSON would break the log's readers."""
    assert "--quiet" in arguments(Settings(log_format="json"))
    assert "--quiet" not in arguments(Settings(log_format="text"))


def test_workers_have_different_names() -> None:
    """Also two of one queue on one machine."""
    settings = Settings(queues=("data_queue",))
    assert node_name(settings) != node_name(settings)
    assert node_name(settings).startswith("data_queue-")
    assert node_name(Settings()).startswith("mixed-")


def test_a_missing_task_module_is_found_before_the_worker_starts() -> None:
    """Packages, modules and what is neither."""
    assert missing_modules(["service.tasks", "service.tasks.data", "json"]) == []
    assert missing_modules(["service.nothing", "nothing.at.all"]) == ["service.nothing", "nothing.at.all"]


def test_a_missing_task_module_is_one_line() -> None:
    """Exit code 2, no traceback."""
    environ = {**os.environ, "FLEET_TASK_MODULES": "shop.nothing"}
    done = subprocess.run(
        [sys.executable, "-m", "service", "worker"], env=environ, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (2, "FLEET_TASK_MODULES: there is no module shop.nothing\n")


@pytest.mark.parametrize("words", [[], ["serve"], ["worker", "--loglevel=INFO"]])
def test_an_unknown_command_is_explained(words: list[str]) -> None:
    """One line and exit code 2."""
    done = subprocess.run([sys.executable, "-m", "service", *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "Usage: python -m service {worker|monitor|beat|flower|healthcheck}\n")


def check() -> tuple[int, str]:
    """Run the container's health check."""
    done = subprocess.run([sys.executable, "-m", "service", "healthcheck"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.usefixtures("own_tmp")
def test_healthcheck() -> None:
    """Not started, alive, hung, gone."""
    assert check() == (1, "not started yet: no sign of life\n")
    heartbeat.touch()
    assert check() == (0, "")
    past = time.time() - 10_000
    os.utime(heartbeat.path(), (past, past))
    code, said = check()
    assert code == 1
    assert "no sign of life for 10" in said
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        Path(heartbeat.path()).write_text(f"{ended.pid} ")
    assert check() == (1, "the process that left the last sign of life is gone\n")
    heartbeat.clear()
    assert check()[0] == 1


def test_healthcheck_does_not_pay_for_celery() -> None:
    """It runs every few seconds in every container."""
    code = "import sys; sys.argv = ['service', 'healthcheck']\n"
    code += "import runpy\ntry: runpy.run_module('service', run_name='__main__')\nexcept SystemExit: pass\n"
    code += "print(sorted({'celery', 'kombu', 'redis', 'pydantic', 'boto3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def restore_logging() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("restore_logging")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logs_leave_out_arguments_and_results(log_format: Literal["text", "json"]) -> None:
    """Celery's own records carry them, in the message and beside it."""
    stream = io.StringIO()
    logs.configure(Settings(log_format=log_format, log_level="DEBUG"), stream)
    context = {"id": "1", "name": "n", "runtime": 0.5, "return_value": "'hunter2'", "args": "hunter2", "kwargs": "{}"}
    logging.getLogger("celery.app.trace").info(
        "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s", context, extra={"data": context}
    )
    logging.getLogger("celery.pool").debug("TaskPool: Apply %s (args:%s)", "x", "hunter2")
    assert "hunter2" not in stream.getvalue()
    assert "Task n[1] succeeded in 0.5s" in stream.getvalue()


@pytest.mark.usefixtures("restore_logging")
def test_json_logs_are_structured() -> None:
    """Each line is an object with the stack and, from Celery's records, the task."""
    stream = io.StringIO()
    logs.configure(Settings(stack="shop", environment="prod"), stream)
    logging.getLogger("celery.app.trace").info("Task %(name)s[%(id)s] ok", {"id": "1", "name": "n", "runtime": 2})
    line = json.loads(stream.getvalue())
    assert (line["stack"], line["environment"], line["level"]) == ("shop", "prod", "INFO")
    assert (line["task_id"], line["task_name"], line["runtime"]) == ("1", "n", 2)
