"""Components alone, under Pulumi's own mocks: what a consumer of one relies on."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks
from pulumi.runtime.config import set_all_config

from infra import components, config
from infra.components import redis, service, worker
from infra.components.common import Scope
from infra.plan.names import Names
from infra.plan.tags import Tags
from infra.program import main

MODULES = [import_module(found.name) for found in pkgutil.iter_modules(components.__path__, "infra.components.")]
COMPONENTS = [
    member
    for module in MODULES
    for _, member in inspect.getmembers(module, inspect.isclass)
    if issubclass(member, pulumi.ComponentResource) and member.__module__ == module.__name__
]


class Recorder(mocks.Mocks):
    def __init__(self) -> None:
        self.registered: dict[tuple[str, str], dict[Any, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.registered[args.typ, args.name] = args.inputs
        outputs = {
            "arn": f"arn:{args.name}",
            "configurationEndpointAddress": "host",
            "secretArn": "arn:secret",
            "versionId": "7",
        }
        return f"{args.name}-id", {**args.inputs, **outputs}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {"names": ["a", "b"]}, []


@pytest.fixture
def recorder() -> Recorder:
    recorder = Recorder()
    mocks.set_mocks(recorder, project="celery-fleet", stack="staging")
    return recorder


def run(program: Callable[[], pulumi.Output[Any]]) -> None:
    """Run `program` to its end as Pulumi would."""
    test: Any = pulumi.runtime.test  # carries no types
    test(program)()


def scope() -> Scope:
    text = pulumi.Output.from_input
    return Scope(
        Names("staging"), Tags("staging", "me"), text("aws"), text("eu-central-1"), text("123456789012"), False
    )


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: str(component.__name__))
def test_every_component_has_the_same_signature(component: type) -> None:
    parameters = list(inspect.signature(component).parameters)
    assert parameters == ["name", "args", "opts"]
    args = inspect.signature(component).parameters["args"].annotation
    assert args == f"{component.__name__}Args"


def test_a_stack_without_a_region_makes_nothing(recorder: Recorder) -> None:
    set_all_config({})
    with pytest.raises(pulumi.RunError, match="aws:region: is missing"):
        main()
    assert not recorder.registered


def test_redis_tells_its_clients_the_user_that_it_made(recorder: Recorder) -> None:
    settings = config.load("staging", None).redis

    def program() -> pulumi.Output[object]:
        made = redis.Redis("redis", redis.RedisArgs(scope(), settings, 14, "key", [], "group"))
        told.update(made.environment)
        return pulumi.Output.all(made.broker.host, *made.secrets.values()).apply(answers.extend)

    told: dict[str, Any] = {}
    answers: list[object] = []
    run(program)
    user = recorder.registered["aws:elasticache/user:User", "redis-workers"]
    assert user["userName"] == user["userId"] == told["FLEET_REDIS_USERNAME"]
    assert answers == ["host", "arn:secret:::7"]


def test_a_worker_without_room_to_scale_has_no_target(recorder: Recorder) -> None:
    queue = config.load("staging", None).queues["dead_letter"]
    platform = service.Platform(
        scope=scope(),
        cluster_arn="arn:cluster",
        cluster_name="cluster",
        image="image@sha256:0",
        repository_arn="arn:repository",
        architecture="ARM64",
        subnet_ids=["subnet"],
        security_group_id="group",
        key_arn="arn:key",
        environment={"A": "platform", "B": "platform"},
        secrets={},
        statements=[],
        log_days=14,
        stop_timeout=120,
        exec_log_arn=None,
        after=[],
    )
    args = worker.QueueWorkerArgs(platform, "dead_letter", queue, {"B": "worker"}, "arn:topic")
    run(lambda: worker.QueueWorker("dead-letter", args).service.name)
    assert not [typ for typ, _ in recorder.registered if "appautoscaling" in typ]
    definition = recorder.registered["aws:ecs/taskDefinition:TaskDefinition", "dead-letter"]
    assert definition["runtimePlatform"]["cpuArchitecture"] == "ARM64"
    assert '{"name": "B", "value": "worker"}' in definition["containerDefinitions"]
