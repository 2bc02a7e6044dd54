"""Settings: what is read, what is refused, and that secrets stay secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kombu.utils.url import parse_url

from service.settings import DAY, SettingsError, load_settings, variables

Env = pytest.MonkeyPatch


def problems(monkeypatch: Env, **values: str) -> list[str]:
    """Load with these variables and return what is said about them."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return caught.value.problems


def test_defaults_follow_the_environment(monkeypatch: Env) -> None:
    """Staging is verbose and forgets soon, prod is structured and remembers."""
    staging = load_settings()
    monkeypatch.setenv("FLEET_ENVIRONMENT", "prod")
    prod = load_settings()
    assert (staging.result_expires, staging.log_format, staging.log_level) == (DAY, "text", "DEBUG")
    assert (prod.result_expires, prod.log_format, prod.log_level) == (7 * DAY, "json", "INFO")


def test_a_default_of_the_environment_can_be_overridden(monkeypatch: Env) -> None:
    """An explicit value wins; an empty one counts as not set."""
    monkeypatch.setenv("FLEET_RESULT_EXPIRES", "60")
    monkeypatch.setenv("FLEET_LOG_LEVEL", "warning")
    monkeypatch.setenv("FLEET_AUTOSCALE_MIN", "")
    settings = load_settings()
    assert (settings.result_expires, settings.log_level, settings.autoscale_min) == (60, "WARNING", None)


def test_queues_are_ordered_by_priority(monkeypatch: Env) -> None:
    """A worker of several queues looks at the most urgent one first."""
    monkeypatch.setenv("FLEET_QUEUES", "celery, data_queue,high_priority_queue")
    assert load_settings().queues == ("high_priority_queue", "data_queue", "celery")


@pytest.mark.parametrize("password", ["p@ss/w:rd", "100%", "a#b?c&d", "ü€"])
def test_credentials_survive_the_url(monkeypatch: Env, password: str) -> None:
    """Any character may be in a password."""
    monkeypatch.setenv("FLEET_REDIS_USERNAME", "worker")
    monkeypatch.setenv("FLEET_REDIS_PASSWORD", password)
    monkeypatch.setenv("FLEET_REDIS_TLS", "true")
    monkeypatch.setenv("FLEET_REDIS_HOST", "redis.example")
    parts = parse_url(load_settings().broker_url)
    assert (parts["transport"], parts["hostname"], parts["port"]) == ("redisclusters", "redis.example", 6379)
    assert (parts["userid"], parts["password"]) == ("worker", password)


def test_results_can_have_a_cluster_of_their_own(monkeypatch: Env) -> None:
    """By default they share the broker's."""
    assert load_settings().result_url == load_settings().broker_url
    monkeypatch.setenv("FLEET_RESULT_REDIS_HOST", "results.example")
    assert load_settings().result_url == "rediscluster://results.example:6379"
    assert load_settings().broker_url == "rediscluster://localhost:6379"


def test_the_results_cluster_may_have_a_user_of_its_own(monkeypatch: Env) -> None:
    """Without one its user is the broker's."""
    for name in ("", "RESULT_"):
        monkeypatch.setenv(f"FLEET_{name}REDIS_HOST", f"{name.lower()}host")
    monkeypatch.setenv("FLEET_REDIS_USERNAME", "workers")
    monkeypatch.setenv("FLEET_REDIS_PASSWORD", "first")
    assert load_settings().result_url == "rediscluster://workers:first@result_host:6379"
    monkeypatch.setenv("FLEET_RESULT_REDIS_USERNAME", "results")
    (line,) = problems(monkeypatch)
    assert line == "FLEET_RESULT_REDIS_PASSWORD: FLEET_RESULT_REDIS_USERNAME is set, so the password must be set too"
    monkeypatch.setenv("FLEET_RESULT_REDIS_PASSWORD", "second")
    assert load_settings().result_url == "rediscluster://results:second@result_host:6379"
    assert load_settings().broker_url == "rediscluster://workers:first@host:6379"


def test_iam_says_what_it_needs(monkeypatch: Env) -> None:
    """User and group for each cluster, TLS, and no password."""
    lines = problems(monkeypatch, FLEET_REDIS_AUTH="iam", FLEET_REDIS_TLS="false")
    assert lines == ["FLEET_REDIS_AUTH: iam needs FLEET_REDIS_TLS=true"]
    monkeypatch.setenv("FLEET_REDIS_TLS", "true")
    lines = problems(monkeypatch, FLEET_REDIS_PASSWORD="x", FLEET_RESULT_REDIS_HOST="results")
    assert {line.split(":")[0] for line in lines} == {
        *("FLEET_REDIS_USERNAME", "FLEET_REDIS_PASSWORD", "FLEET_REDIS_GROUP"),
        *("FLEET_RESULT_REDIS_USERNAME", "FLEET_RESULT_REDIS_GROUP"),
    }
    monkeypatch.delenv("FLEET_REDIS_PASSWORD")
    for name in ("", "RESULT_"):
        monkeypatch.setenv(f"FLEET_{name}REDIS_USERNAME", "user")
        monkeypatch.setenv(f"FLEET_{name}REDIS_GROUP", "group")
    settings = load_settings()
    assert settings.broker_url == "redisclusters://localhost:6379"
    monkeypatch.setenv("FLEET_REDIS_AUTH", "password")
    assert "it has no use without FLEET_REDIS_AUTH=iam" in " ".join(problems(monkeypatch))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FLEET_CONCURRENCY", "many", "integer"),
        ("FLEET_CONCURRENCY", "0", "greater than or equal to 1"),
        ("FLEET_QUEUES", "celery,bogus", "unknown queue bogus; the queues are high_priority_queue"),
        ("FLEET_QUEUES", ",", "at least one queue"),
        ("FLEET_POOL", "forks", "'prefork', 'gevent'"),
        ("FLEET_ENVIRONMENT", "dev", "'staging' or 'prod'"),
        ("FLEET_SHUTDOWN_GRACE", "59", "greater than or equal to 60"),
        ("FLEET_SHUTDOWN_GRACE", "120", "less than or equal to 110"),
        ("FLEET_REDIS_PORT", "70000", "65535"),
        ("FLEET_TASK_MODULES", "shop tasks", "dotted name"),
        ("FLEET_TIME_LIMIT", "10", "above FLEET_SOFT_TIME_LIMIT=3300"),
        ("FLEET_AUTOSCALE_MIN", "9", "more than FLEET_CONCURRENCY=2"),
        ("FLEET_STACK", "A Stack", "match"),
        ("FLEET_LOG_LEVEL", "loud", "'DEBUG'"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_variable(monkeypatch: Env, name: str, value: str, said: str) -> None:
    """Every problem names the variable and what is expected."""
    (line,) = problems(monkeypatch, **{name: value})
    assert line.startswith(f"{name}: ")
    assert said in line
    assert "\n" not in line


def test_all_problems_are_named_at_once(monkeypatch: Env) -> None:
    """Nobody has to restart once per mistake."""
    lines = problems(monkeypatch, FLEET_POOL="x", FLEET_ENVIRONMENT="y", FLEET_REDIS_PORT="z")
    assert {line.split(":")[0] for line in lines} == {"FLEET_POOL", "FLEET_ENVIRONMENT", "FLEET_REDIS_PORT"}


def test_an_unknown_variable_is_refused(monkeypatch: Env) -> None:
    """A misspelt name must not silently do nothing."""
    (line,) = problems(monkeypatch, FLEET_CONCURENCY="4")
    assert line == "FLEET_CONCURENCY: there is no such setting; did you mean FLEET_CONCURRENCY?"


def test_settings_that_contradict_each_other(monkeypatch: Env, tmp_path: Path) -> None:
    """Each is refused with the other's name."""
    (line,) = problems(monkeypatch, FLEET_REDIS_USERNAME="worker")
    assert line.startswith("FLEET_REDIS_PASSWORD: FLEET_REDIS_USERNAME is set")
    monkeypatch.setenv("FLEET_REDIS_PASSWORD", "x")
    (line,) = problems(monkeypatch, FLEET_REDIS_CA_FILE=str(tmp_path / "ca.pem"))
    assert line == "FLEET_REDIS_CA_FILE: it has no use without FLEET_REDIS_TLS=true"
    monkeypatch.setenv("FLEET_REDIS_TLS", "1")
    (line,) = problems(monkeypatch)
    assert line == f"FLEET_REDIS_CA_FILE: cannot read {tmp_path / 'ca.pem'}"
    monkeypatch.delenv("FLEET_REDIS_CA_FILE")
    lines = problems(monkeypatch, FLEET_POOL="gevent", FLEET_AUTOSCALE_MIN="1")
    assert lines == ["FLEET_AUTOSCALE_MIN: only the prefork pool scales itself, not gevent"]


def test_pickle_is_accepted_only_with_a_warning(monkeypatch: Env) -> None:
    """It is off, and turning it on says what it means."""
    assert not load_settings().allow_pickle
    monkeypatch.setenv("FLEET_ALLOW_PICKLE", "true")
    with pytest.warns(UserWarning, match="can run any code"):
        assert load_settings().allow_pickle


def test_secrets_are_not_printed(monkeypatch: Env) -> None:
    """Neither by the settings' representation nor by a complaint about another variable."""
    monkeypatch.setenv("FLEET_REDIS_PASSWORD", "hunter2")
    assert "hunter2" not in repr(load_settings())
    lines = problems(monkeypatch, FLEET_REDIS_PORT="x")
    assert "hunter2" not in "".join(lines)


def test_every_field_has_a_variable() -> None:
    """The names that the infrastructure sets are derived from the fields."""
    assert variables()["FLEET_REDIS_CA_FILE"] == "redis_ca_file"


@pytest.mark.parametrize("command", ["worker", "monitor"])
def test_a_wrong_setting_ends_a_command_without_a_traceback(command: str) -> None:
    """One line on stderr and exit code 2."""
    environ = {**os.environ, "FLEET_POOL": "forks", "FLEET_REDIS_PASSWORD": "hunter2"}
    done = subprocess.run(
        [sys.executable, "-m", "service", command], env=environ, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.startswith("FLEET_POOL: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
