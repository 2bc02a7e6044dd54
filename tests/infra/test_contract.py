"""What the infrastructure sets is what the service reads: a variable that it does not know would stop every task."""

from __future__ import annotations

import os

import pytest

from scripts.render import Render
from scripts.render.services import services
from service.fleet import DEAD_LETTER_QUEUE, QUEUES
from service.settings import load_settings


def test_the_service_accepts_every_environment_and_reads_it_as_meant(
    stack: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ecs in services(stack):
        for name in [name for name in os.environ if name.startswith("FLEET_")]:
            monkeypatch.delenv(name)
        for name, value in {**ecs.environment, **dict.fromkeys(ecs.secrets, "x" * 48)}.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert settings.stack == stack.stack
        assert settings.environment == stack.stack
        assert settings.redis_tls is True
        assert settings.redis_password is not None
        if ecs.queue is not None:
            queue = next(queue for queue in (*QUEUES, DEAD_LETTER_QUEUE) if queue.name == ecs.queue)
            assert settings.queues == (queue.name,)
            assert settings.pool == queue.pool
            assert settings.shutdown_grace < ecs.stop_timeout
            assert settings.result_expires == (86400 if stack.stack == "staging" else 604800)
