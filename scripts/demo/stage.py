"""Sets the stage: the rendered stack on this machine, ready for work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from pydantic import SecretStr
from rich.console import Console

from scripts.demo import report
from scripts.demo.cloudwatch import CloudWatchStandIn
from scripts.demo.fleet import Fleet
from scripts.demo.local import differences
from scripts.demo.processes import Children
from scripts.demo.rendered import ScalingAlarm, rendered, scaling_alarm
from scripts.localcluster import LocalCluster, Node
from scripts.render.services import redis_access_string, redis_user_name, services
from service import fleet as shared
from service import queues
from service.app import create_app
from service.rediscluster.keys import QueueKeys
from service.settings import Settings

STACK = "staging"
#: The queue whose primary and whose worker will die: the busiest.
BUSY = "data_queue"
HEALTHY_SECONDS = 300.0


@dataclass(frozen=True)
class Stage:
    """What runs.

    Attributes:
        cluster: Redis.
        victim: The primary of `BUSY`.
        cloudwatch: The stand-in.
        fleet: The ECS services' tasks.
        settings: For clients of the fleet.
        app: A client's app.
        ledger: What the workers write.
        alarm: What scales the workers of `BUSY`.
        region: The stack's.
    """

    cluster: LocalCluster
    victim: Node
    cloudwatch: CloudWatchStandIn
    fleet: Fleet
    settings: Settings
    app: Celery
    ledger: Path
    alarm: ScalingAlarm
    region: str


def build(
    console: Console, say: Callable[[str], None], children: Children, directory: Path, cleanup: ExitStack
) -> Stage:
    """Start Redis, the CloudWatch stand-in and every service of the rendered stack.

    Args:
        console: For tables.
        say: Takes a sentence about each step.
        children: Starts processes.
        directory: For logs and the ledger.
        cleanup: Gets what ends the servers.

    Raises:
        DemoError: Something cannot be started or does not become healthy.
        LocalClusterError: Redis cannot be started.
    """
    say(f"rendering the stack {STACK}, offline")
    stack = rendered(STACK)
    wanted = services(stack)
    alarm = scaling_alarm(stack, BUSY)
    say("starting a Redis Cluster: 3 primaries, 3 replicas, TLS, the stack's access rules")
    cluster = LocalCluster(tls=True, access_string=redis_access_string(stack), username=redis_user_name(stack))
    cleanup.enter_context(cluster)
    cleanup.callback(children.stop)
    victim = cluster.primary_for(QueueKeys(shared.BROKER_PREFIX, BUSY).ready)
    seed = next(node for node in cluster.primaries if node is not victim)
    cloudwatch = CloudWatchStandIn(children, directory / "cloudwatch.log")
    ledger = directory / "ledger"
    table = differences(cluster, seed, cloudwatch.url, ledger)
    report.print_services(console, wanted)
    report.print_differences(console, table)
    fleet = Fleet(children, wanted, table, directory)
    fleet.start()
    say(f"started {len(fleet.tasks)} tasks; logs in {directory}")
    cloudwatch.wait()
    fleet.wait_healthy(HEALTHY_SECONDS)
    say(f"all {len(fleet.tasks)} tasks pass the health check of their task definition")
    settings = _client_settings(cluster, seed, wanted[0].environment)
    region = next(service.environment["AWS_REGION"] for service in wanted)
    return Stage(cluster, victim, cloudwatch, fleet, settings, create_app(settings), ledger, alarm, region)


def _client_settings(cluster: LocalCluster, seed: Node, rendered: Mapping[str, str]) -> Settings:
    return Settings(
        stack=STACK,
        environment="staging",
        queue_table=queues.parse(rendered["FLEET_QUEUE_TABLE"]),
        redis_host="127.0.0.1",
        redis_port=seed.port,
        redis_username=cluster.username,
        redis_password=SecretStr(cluster.password),
        redis_tls=True,
        redis_ca_file=cluster.ca_file,
    )
