"""The real image, as its task definitions run it: on a local cluster over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import requests
from celery import Celery
from celery.result import AsyncResult
from moto.server import ThreadedMotoServer
from packaging.markers import default_environment
from packaging.requirements import Requirement

from scripts.demo.cloudwatch import maximum
from scripts.image.build import ROOT, Built
from scripts.image.container import Container, page_status
from scripts.image.engine import OWNER, Engine
from scripts.image.limits import judge
from scripts.image.local import differences, environment, files, free_port
from scripts.localcluster import LocalCluster
from scripts.render import Render
from scripts.render.services import EcsService, services
from service import fleet
from service.rediscluster import BrokerInspector
from service.steps import EXIT_COLD
from tests.image.conftest import service_of
from tests.image.gate import Gate

# Making base and image takes minutes on a machine that never did.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

#: Longer than anything here takes on a busy machine.
PATIENCE = 300.0
FETCH = "service.tasks.sync.fetch_page"
Say = Callable[[str], None]


def worker(
    engine: Engine, redis: LocalCluster, image: Built, service: EcsService, port: int, **variables: str
) -> Container:
    values = environment(service, {**differences(redis, health_port=port), **variables})
    return Container(engine, service, image.name, values, files(redis))


def python(engine: Engine, image: Built, code: str, *options: str) -> str:
    """Run Python in the image, without a task definition."""
    words = ("run", "--rm", "--network", "none", "--read-only", image.name, "python", *options, "-c", code)
    return engine.run(*words)


def test_the_image_holds_what_is_locked_and_nothing_to_build_with(engine: Engine, image: Built, say: Say) -> None:
    code = """if True:
        import glob, importlib.metadata, json, platform, shutil
        print(json.dumps({
            "packages": {d.name.lower().replace("_", "-").replace(".", "-"): d.version
                         for d in importlib.metadata.distributions()},
            "tools": [name for name in ("gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "pip", "pip3", "uv")
                      if shutil.which(name)],
            "pip": [path for place in ("/usr/local/**", "/venv/bin", "/venv/lib/*/site-packages")
                    for path in glob.glob(f"{place}/pip*", recursive=True)],
            "amazon": glob.glob("/etc/ssl/certs/Amazon_Root_CA_1.pem"),
            "version": platform.python_version(),
            "tests": glob.glob("/venv/**/tests", recursive=True),
        }))"""
    found = json.loads(python(engine, image, code))
    lines = (ROOT / "requirements" / "service.txt").read_text().splitlines()
    locked = [Requirement(line.rstrip("\\ ")) for line in lines if line and line[0].isalpha()]
    there = {**default_environment(), "python_full_version": found["version"], "extra": ""}
    wanted = {
        item.name: str(item.specifier).removeprefix("==")
        for item in locked
        if item.marker is None or item.marker.evaluate(there)
    }
    assert found["packages"] == wanted
    assert found["tools"] == found["pip"] == found["tests"] == []
    assert found["amazon"], "certificates of ElastiCache could not be checked"
    parts = ", ".join(f"{layer.size / 1e6:.1f} MB {layer.made_by[:60]!r}" for layer in image.layers[1:])
    say(f"size on disk: {image.size / 1e6:.0f} MB, {image.own_size / 1e6:.0f} MB of it above the base ({parts})")


def test_nothing_is_compiled_at_run_time(engine: Engine, image: Built) -> None:
    code = """if True:
        import subprocess, sys
        worker = "service.celery_app, celery.bin.celery, celery.concurrency.prefork"
        for names in (worker, "service.monitor", "service.flower.process"):
            said = subprocess.run([sys.executable, "-v", "-c", f"import {names}"], capture_output=True, text=True)
            assert said.returncode == 0, said.stderr
            for line in said.stderr.splitlines():
                if line.startswith("# code object from") and ".pyc" not in line:
                    print(line)"""
    assert python(engine, image, code) == ""


def test_the_image_is_what_the_task_definitions_expect(image: Built, prod: Render) -> None:
    config = image.config
    for service in services(prod):
        (definition,) = service.task["containerDefinitions"]
        assert config["User"] == definition["user"]
        assert list(config["Volumes"]) == [point["containerPath"] for point in definition["mountPoints"]]
    assert config["WorkingDir"] == "/app"
    assert config["Cmd"] == list(service_of(prod, "celery").command)
    assert not config.get("Entrypoint")
    assert config.get("StopSignal", "SIGTERM") == "SIGTERM"
    assert not config.get("Healthcheck")


@pytest.mark.parametrize("queue", ["high_priority_queue", "sync_queue"])
def test_a_worker_serves_over_tls_and_ends_with_nothing_lost(
    engine: Engine,
    image: Built,
    prod: Render,
    redis: LocalCluster,
    app: Celery,
    gate: Gate,
    say: Say,
    queue: str,
) -> None:
    service = service_of(prod, queue)
    slots = int(service.environment["FLEET_CONCURRENCY"])
    port = free_port()
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    with worker(engine, redis, image, service, port) as first:
        seconds = first.wait_ready(port, PATIENCE)
        pool = service.environment["FLEET_POOL"]
        say(f"{queue} ({pool}): ready {seconds:.1f} s after its container's start, {first.cpu_seconds():.1f} s of cpu")
        assert first.healthy()
        confined(first, service, say)

        verdict = app.send_task("service.tasks.high_priority.check_event", args=("{}", "0"), queue=queue)
        assert verdict.get(timeout=PATIENCE)["reason"] == "checksum differs"

        # As many as can run, and some that wait: the first end within the grace, the others go back unstarted.
        sent = [app.send_task(FETCH, args=(gate.url,), queue=queue) for _ in range(slots + 5)]
        gate.wait_for(slots)
        stopping = first.stop()
        first.wait_until(lambda: page_status(port, "/health/ready") == 503, "that it stops to take work", PATIENCE)
        gate.open()
        ended = stopping.wait()
        assert ended.exit_code == 0, first.log()
        assert ended.seconds < int(service.environment["FLEET_SHUTDOWN_GRACE"])
        log = first.log()
        assert redis.password not in log
        assert first.changes() == []
    done = wait_count(sent, slots)
    stats = inspector.stats(queue)
    inspector.close()
    # Some more may have begun between the signal and the opening of the gate.
    assert done >= slots
    assert (done + stats.depth, stats.leased) == (len(sent), 0)
    say(f"{queue}: ended {ended.seconds:.1f} s after SIGTERM, {done} tasks finished, {stats.depth} returned")

    next_port = free_port()
    with worker(engine, redis, image, service, next_port) as second:
        second.wait_ready(next_port, PATIENCE)
        assert [result.get(timeout=PATIENCE)["status"] for result in sent] == [200] * len(sent)
        assert second.stop().wait().exit_code == 0


def confined(container: Container, service: EcsService, say: Say) -> None:
    """Check what the definition says about a running container."""
    facts = json.loads(
        container.execute(
            "python",
            "-c",
            """if True:
            import json, os, resource
            def refused(path):
                try:
                    open(path, "w").close()
                except OSError as error:
                    return error.strerror
            status = dict(line.rstrip().split(":\\t", 1) for line in open("/proc/1/status") if ":\\t" in line)
            print(json.dumps({
                "user": f"{os.getuid()}:{os.getgid()}",
                "of init": status["Uid"].split()[0],
                "init": open("/proc/1/cmdline").read().split("\\0")[0],
                "capabilities": status["CapBnd"].strip("0") + status["CapEff"].strip("0"),
                "tmp": oct(os.stat("/tmp").st_mode & 0o7777),
                "refused": [refused(path) for path in ("/x", "/app/x", "/venv/x", "/var/tmp/x", "/run/x")],
                "allowed": refused("/tmp/x"),
                "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            }))""",
        ).stdout
    )
    (definition,) = service.task["containerDefinitions"]
    assert facts["user"] == definition["user"]
    assert facts["of init"] == definition["user"].split(":")[0]
    assert facts["init"].endswith("init"), "the init process is asked for"
    assert facts["capabilities"] == ""
    assert facts["tmp"] == "0o1777"
    assert facts["refused"] == ["Read-only file system"] * 5
    assert facts["allowed"] is None
    wrong, missing = judge(service.task, container.read)
    assert wrong == []
    kept = f"all but {', '.join(missing)}: NOT enforced, this kernel has no control group for it" if missing else "all"
    say(f"{service.queue}: limits of cpu and memory that are kept: {kept}")
    if facts["files"] < 65535:
        say(f"{service.queue}: {facts['files']} open files, as this machine allows; Fargate gives 65535")


def wait_count(results: list[AsyncResult[Any]], count: int) -> int:
    """How many have ended, at least `count` in time."""
    deadline = time.monotonic() + PATIENCE
    while (done := sum(result.ready() for result in results)) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return done


def test_a_task_that_outlasts_the_grace_is_returned_before_ecs_would_kill(
    engine: Engine, image: Built, prod: Render, redis: LocalCluster, app: Celery, gate: Gate, say: Say
) -> None:
    service = service_of(prod, "celery")
    port = free_port()
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    # The shortest grace that the settings allow; the stop timeout stays.
    with worker(engine, redis, image, service, port, FLEET_SHUTDOWN_GRACE="60") as container:
        container.wait_ready(port, PATIENCE)
        app.send_task(FETCH, args=(gate.url,), queue="celery")
        gate.wait_for(1)
        ended = container.stop().wait()
        assert ended.exit_code == EXIT_COLD, container.log()
        assert 60 <= ended.seconds < service.stop_timeout
        assert "the grace of 60 s is over: 1 tasks go back" in container.log()
    stats = inspector.stats("celery")
    inspector.close()
    assert (stats.depth, stats.leased) == (1, 0)
    say(f"a grace of 60 s ran out: the task was returned and the container had ended after {ended.seconds:.1f} s")


def test_the_monitor_publishes_and_ends_at_once(
    engine: Engine, image: Built, prod: Render, redis: LocalCluster, app: Celery, say: Say
) -> None:
    service = service_of(prod, "monitor")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        app.send_task("service.tasks.default.digest_text", args=("one two",))
        values = environment(service, differences(redis, cloudwatch=url))
        with Container(engine, service, image.name, values, files(redis)) as monitor:
            monitor.wait_until(monitor.healthy, "its health", PATIENCE)
            cpu = monitor.cpu_seconds()
            say(f"monitor: healthy {monitor.age():.1f} s after its container's start, {cpu:.1f} s of cpu")
            dimensions = {fleet.DIMENSION_STACK: "prod", fleet.DIMENSION_QUEUE: "celery"}
            region = service.environment["AWS_REGION"]
            monitor.wait_until(
                lambda: maximum(url, fleet.METRIC_NAMESPACE, fleet.METRIC_DEPTH, dimensions, region) == 1,
                "the queue's depth in CloudWatch",
                PATIENCE,
            )
            ended = monitor.stop().wait()
            assert ended.exit_code == 0, monitor.log()
            assert ended.seconds < service.stop_timeout
            assert monitor.changes() == []
    finally:
        server.stop()


def test_flower_asks_for_its_login_and_ends_at_once(
    engine: Engine, image: Built, prod: Render, redis: LocalCluster, app: Celery, say: Say
) -> None:
    service, port = service_of(prod, "flower"), free_port()
    login = (fleet.FLOWER_USER, "a-password-of-flower")
    here = {"FLEET_FLOWER_PASSWORD": login[1], "FLEET_FLOWER_PORT": str(port)}
    app.send_task("service.tasks.default.digest_text", args=("one two",))
    values = environment(service, {**differences(redis), **here})
    with Container(engine, service, image.name, values, files(redis)) as flower:
        flower.wait_until(flower.healthy, "its health", PATIENCE)
        say(f"flower: healthy {flower.age():.1f} s after its container's start, {flower.cpu_seconds():.1f} s of cpu")
        page = f"http://127.0.0.1:{port}/{fleet.FLOWER_PREFIX}"
        assert requests.get(f"{page}/broker", timeout=20).status_code == 401
        lengths = requests.get(f"{page}/api/queues/length", auth=login, timeout=20).json()["active_queues"]
        assert {queue["name"]: queue["messages"] for queue in lengths}["celery"] == 1
        ended = flower.stop().wait()
        assert ended.exit_code == 0, flower.log()
        assert ended.seconds < service.stop_timeout
        # Its root may be written to, for the tunnel's agent; Flower itself leaves it alone.
        assert flower.changes() == []


def test_memory_above_the_limit_is_killed(
    engine: Engine, image: Built, prod: Render, redis: LocalCluster, say: Say
) -> None:
    greedy = with_container(
        service_of(prod, "celery"),
        memory=64,
        memoryReservation=32,
        command=["python", "-c", "import time; time.sleep(5); block = bytearray(256 << 20); print('got it')"],
    )
    values = environment(greedy, differences(redis))
    with Container(engine, greedy, image.name, values, files(redis)) as container:
        _, missing = judge(greedy.task, container.read)
        if "memory" in missing:
            say("memory: NOT limited, this kernel has no control group for it")
            return
        deadline = time.monotonic() + PATIENCE
        while container.running:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert container.state["ExitCode"] == 137
        assert "got it" not in container.log()
    say("memory: above its hard limit the container is killed, exit code 137")


def with_container(service: EcsService, **parts: Any) -> EcsService:
    """The service with other values in its container's definition."""
    (definition,) = service.task["containerDefinitions"]
    task: Mapping[str, Any] = {**service.task, "containerDefinitions": [{**definition, **parts}]}
    return replace(service, task=dict(task))


def test_wrong_settings_end_the_container_with_their_names(
    engine: Engine, image: Built, prod: Render, redis: LocalCluster
) -> None:
    service = service_of(prod, "celery")
    values = environment(service, {**differences(redis), "FLEET_POOL": "fork"})
    with Container(engine, service, image.name, values, files(redis)) as container:
        deadline = time.monotonic() + PATIENCE
        while container.running:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert container.state["ExitCode"] == 2
        assert "FLEET_POOL" in container.log()


def test_containers_of_a_run_that_was_killed_are_removed_by_the_next(engine: Engine, image: Built) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, own = (engine.run("create", "--label", f"{OWNER}={pid}", image.name) for pid in (dead.pid, os.getpid()))
    try:
        Engine(engine.directory)
        assert engine.attempt("container", "exists", left).returncode == 1
        assert engine.attempt("container", "exists", own).returncode == 0
    finally:
        engine.attempt("rm", "--force", own)
