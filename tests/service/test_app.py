"""The app: Celery's configuration as the practices have it."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery
from pydantic import SecretStr

from service.app import create_app
from service.settings import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", True),
        ("task_reject_on_worker_lost", True),
        ("worker_prefetch_multiplier", 1),
        ("broker_connection_retry_on_startup", True),
        ("broker_connection_max_retries", 10),
        ("task_soft_time_limit", 3300),
        ("task_time_limit", 3600),
        ("worker_max_tasks_per_child", 1000),
        ("worker_shutdown_grace", 100),
        ("accept_content", ["json"]),
        ("task_serializer", "json"),
        ("result_serializer", "json"),
        ("result_compression", "gzip"),
        ("result_expires", 86400),
        ("task_create_missing_queues", False),
        ("task_queue_max_priority", 10),
    ],
)
def test_practices(name: str, value: object) -> None:
    """Each is what a worker of the staging stack runs with."""
    assert create_app(Settings()).conf[name] == value


def test_broker_and_results_have_key_spaces_of_their_own(tmp_path: Path) -> None:
    """A cluster has database 0 only; both trust the same certificates."""
    ca = tmp_path / "ca.pem"
    ca.touch()
    conf = create_app(Settings(redis_tls=True, redis_ca_file=ca, lease=30)).conf
    expected = {"key_prefix": "broker:", "lease": 30, "ssl_ca_certs": str(ca)}
    assert conf.broker_transport_options.items() >= expected.items()
    assert conf.result_backend_transport_options == {"key_prefix": "result:", "ssl_ca_certs": str(ca)}


def test_pickle_is_accepted_only_if_allowed() -> None:
    """And is never the default for what is sent."""
    conf = create_app(Settings(allow_pickle=True)).conf
    assert conf.accept_content == ["json", "pickle"]
    assert conf.task_serializer == "json"


def test_apps_do_not_share_their_configuration() -> None:
    """The factory has no state."""
    first, second = create_app(Settings(redis_host="one")), create_app(Settings(redis_host="two"))
    assert ("one" in first.conf.broker_url, "two" in second.conf.broker_url) == (True, True)


def test_the_password_does_not_show() -> None:
    """Celery's own descriptions of the app leave it out."""
    app: Celery = create_app(Settings(redis_username="worker", redis_password=SecretStr("hunter2")))
    assert "hunter2" not in app.conf.humanize()
    assert "hunter2" not in app.bugreport()
    assert "hunter2" not in app.connection_for_write().as_uri()


def test_users_tasks_are_named_by_a_setting() -> None:
    """The worker imports these modules."""
    assert create_app(Settings(task_modules=("service.tasks", "shop.tasks"))).conf.include == (
        "service.tasks",
        "shop.tasks",
    )
