"""The whole stack, in the order of the picture in docs/infrastructure.md."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi.runtime.config import CONFIG

from infra import config
from infra.components.beat import Beat, BeatArgs
from infra.components.cluster import Cluster, ClusterArgs
from infra.components.common import Scope, scope
from infra.components.dead_letters import DeadLetters, DeadLettersArgs
from infra.components.image import Image, ImageArgs
from infra.components.key import Key, KeyArgs
from infra.components.monitor import Monitor, MonitorArgs
from infra.components.network import Network, NetworkArgs
from infra.components.notifications import Events, EventsArgs, Notifications, NotificationsArgs
from infra.components.observability import Alarms, AlarmsArgs, Dashboard, DashboardArgs
from infra.components.redis import Redis, RedisArgs
from infra.components.service import Platform
from infra.components.worker import QueueWorker, QueueWorkerArgs
from infra.plan import environment
from infra.plan.alarms import event_alarms, publisher_alarm, queue_alarms, redis_alarms
from infra.plan.names import Names, hyphens, redis_nodes
from infra.plan.tags import Tags
from service.fleet import DEAD_LETTER_QUEUE, QUEUES

ARCHITECTURES: Final = {"linux/amd64": "X86_64", "linux/arm64": "ARM64"}


def main() -> None:
    """Check the configuration, then describe the stack; a wrong configuration registers nothing."""
    stack = pulumi.get_stack()
    try:
        # The SDK has no public way to list keys, and a misspelt one would silently mean the defaults.
        keys = [key for key in CONFIG.get() if key.startswith(f"{pulumi.get_project()}:")]
        region = config.region_problems(pulumi.Config("aws").get("region"))
        settings = config.load(stack, pulumi.Config().get_object("fleet"), keys, region)
    except config.ConfigError as error:
        # A RunError shows its text alone, without a traceback.
        raise pulumi.RunError(f"the configuration of stack {stack!r} is wrong:\n{error}") from error
    here = scope(Names(stack), Tags(settings.environment, settings.owner, settings.tags), settings.protect)
    build(here, settings)


def build(here: Scope, settings: config.Fleet) -> None:
    """Describe the stack."""
    names, log_days = here.names, settings.logs.retention_days

    key = Key("key", KeyArgs(here))
    topic = settings.alarms.topic_arn or (
        Notifications("alarms", NotificationsArgs(here, key.arn, settings.alarms.emails)).topic_arn
    )
    network = Network(
        "network", NetworkArgs(here, settings.network, settings.wait_for, settings.exec, log_days, key.arn)
    )
    redis = Redis(
        "redis",
        RedisArgs(here, settings.redis, log_days, key.arn, network.private_subnet_ids, network.redis_security_group_id),
    )
    image = Image("service", ImageArgs(here, settings.image, key.arn))
    cluster = Cluster("cluster", ClusterArgs(here, log_days, key.arn))

    platform = Platform(
        scope=here,
        cluster_arn=cluster.arn,
        cluster_name=cluster.name,
        image=image.digest,
        repository_arn=image.repository_arn,
        architecture=ARCHITECTURES[settings.image.platform],
        subnet_ids=network.private_subnet_ids,
        security_group_id=network.tasks_security_group_id,
        key_arn=key.arn,
        environment=environment.common(settings, names.stack, here.region, redis.host, redis.port, redis.user_name),
        secrets={"FLEET_REDIS_PASSWORD": redis.password_arn},
        log_days=log_days,
        stop_timeout=settings.shutdown.stop_timeout,
        exec_log_arn=cluster.exec_log_arn if settings.exec else None,
        after=[network, redis, cluster],
    )
    letters = DeadLetters("letters", DeadLettersArgs(here, key.arn, settings.letters.days))
    keeper = environment.letters(settings, letters.table_name, letters.bucket_name)
    monitor = Monitor("monitor", MonitorArgs(platform, settings.monitor))
    if settings.beat.enabled:
        Beat("beat", BeatArgs(platform, settings.beat, environment.beat(settings), topic))
    workers = {
        queue.name: QueueWorker(
            hyphens(queue.name),
            QueueWorkerArgs(
                platform=platform,
                queue=queue.name,
                settings=settings.queues[queue.name],
                environment={
                    **environment.worker(settings, queue.name, queue.pool, settings.queues[queue.name]),
                    **(keeper if queue is DEAD_LETTER_QUEUE else {}),
                },
                topic_arn=topic,
                statements=letters.statements if queue is DEAD_LETTER_QUEUE else (),
            ),
        )
        for queue in (*QUEUES, DEAD_LETTER_QUEUE)
    }

    services = {queue: names.of(queue) for queue in workers}
    nodes = redis_nodes(names.redis, settings.redis.shards, settings.redis.replicas)
    Alarms(
        "stack",
        AlarmsArgs(
            here,
            [
                publisher_alarm(names.stack),
                *event_alarms(names, settings.alarms.restarts),
                *redis_alarms(nodes, settings.redis.memory_alarm, settings.redis.cpu_alarm),
                *(
                    alarm
                    for queue, service in services.items()
                    for alarm in queue_alarms(
                        names.stack,
                        cluster.name,
                        service,
                        queue,
                        hyphens(queue),
                        settings.queues[queue].alarm_depth,
                        settings.queues[queue].alarm_failures,
                    )
                ),
            ],
            topic,
            after=[monitor.service, *(worker.service for worker in workers.values())],
        ),
    )
    Events("events", EventsArgs(here, cluster.arn, cluster.name, topic))
    beat = names.of("beat") if settings.beat.enabled else None
    board = Dashboard("dashboard", DashboardArgs(here, cluster.name, services, names.of("monitor"), nodes, beat))

    pulumi.export("vpc", network.vpc_id)
    pulumi.export("privateSubnets", network.private_subnet_ids)
    pulumi.export("tasksSecurityGroup", network.tasks_security_group_id)
    pulumi.export("redisSecurityGroup", network.redis_security_group_id)
    pulumi.export("cluster", cluster.name)
    pulumi.export("services", {queue: worker.service.name for queue, worker in workers.items()})
    pulumi.export("monitor", monitor.service.name)
    pulumi.export("redisHost", redis.host)
    pulumi.export("redisPort", redis.port)
    pulumi.export("redisUser", redis.user_name)
    pulumi.export("redisPasswordSecret", redis.password_arn)
    pulumi.export("image", image.digest)
    pulumi.export("lettersTable", letters.table_name)
    pulumi.export("lettersBucket", letters.bucket_name)
    pulumi.export("alarmTopic", topic)
    pulumi.export("dashboard", board.name)
