from __future__ import annotations

import os

import pytest

from scripts.demo.errors import DemoError
from scripts.demo.rendered import rendered, scaling_alarm
from scripts.render import Render
from scripts.render.services import EcsService, services
from service import fleet
from service.settings import load_settings
from tests.infra.renders import Renders


@pytest.fixture(params=["staging", "prod"])
def stack(request: pytest.FixtureRequest, renders: Renders) -> Render:
    return renders.named(request.param)


def settings_of(service: EcsService, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        monkeypatch.delenv(name)
    for name, value in {**service.environment, **dict.fromkeys(service.secrets, "x" * 48)}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.redis_tls
    assert settings.shutdown_grace < service.stop_timeout


def test_the_service_accepts_what_the_stack_sets(stack: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    for service in services(stack):
        with monkeypatch.context() as patch:
            settings_of(service, patch)


def test_every_queue_has_workers_and_one_service_publishes(stack: Render) -> None:
    found = services(stack)
    assert {service.queue for service in found if service.role == "worker"} == set(fleet.QUEUE_NAMES)
    assert [service.desired_count for service in found if service.role == "monitor"] == [1]


def test_every_queue_is_scaled_by_a_metric_that_the_monitor_publishes(stack: Render) -> None:
    for queue in fleet.QUEUES:
        alarm = scaling_alarm(stack, queue.name)
        assert alarm.dimensions == {fleet.DIMENSION_STACK: stack.stack, fleet.DIMENSION_QUEUE: queue.name}
        assert alarm.threshold == 100


def test_an_unknown_stack_is_one_sentence() -> None:
    with pytest.raises(DemoError, match="The stack nowhere cannot be rendered: there is no stack 'nowhere'"):
        rendered("nowhere")
