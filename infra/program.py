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
from infra.components.flower import Flower, FlowerArgs
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
from infra.plan.alarms import busy_percent, event_alarms, publisher_alarm, queue_alarms
from infra.plan.names import Names, hyphens
from infra.plan.tags import Tags
from service.fleet import DEAD_LETTER_QUEUE, FLOWER_PORT, FLOWER_PREFIX, FLOWER_USER, REDIS_PORT

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
    for sentence in config.warnings(settings):
        pulumi.log.warn(sentence)
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
        "network",
        NetworkArgs(
            here, settings.network, settings.wait_for, settings.exec or settings.flower.enabled, log_days, key.arn
        ),
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
        environment={**environment.common(settings, names.stack, here.region), **redis.environment},
        secrets=redis.secrets,
        statements=redis.statements,
        log_days=log_days,
        stop_timeout=settings.shutdown.stop_timeout,
        exec_log_arn=cluster.exec_log_arn if settings.exec else None,
        after=[network, redis, cluster],
    )
    letters = DeadLetters("letters", DeadLettersArgs(here, key.arn, settings.letters.days))
    keeper = environment.letters(settings, letters.table_name, letters.bucket_name)
    monitor = Monitor("monitor", MonitorArgs(platform, settings.monitor, environment.monitor(settings)))
    if settings.beat.enabled:
        Beat("beat", BeatArgs(platform, settings.beat, environment.beat(settings), topic))
    flower = None
    if settings.flower.enabled:
        flower = Flower("flower", FlowerArgs(platform, settings.flower, cluster.exec_log_arn))
    workers = {
        name: QueueWorker(
            hyphens(name),
            QueueWorkerArgs(
                platform=platform,
                queue=name,
                settings=queue,
                environment={
                    **environment.worker(settings, name, queue),
                    **(keeper if name == DEAD_LETTER_QUEUE.name else {}),
                },
                topic_arn=topic,
                statements=letters.statements if name == DEAD_LETTER_QUEUE.name else (),
            ),
        )
        for name, queue in settings.queues.items()
    }

    services = {queue: names.of(queue) for queue in workers}
    Alarms(
        "stack",
        AlarmsArgs(
            here,
            [
                publisher_alarm(names.stack),
                *event_alarms(names, settings.alarms.restarts),
                *redis.alarms,
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
                        busy_percent(settings.queues[queue].pool, settings.queues[queue].cpu),
                    )
                ),
            ],
            topic,
            after=[monitor.service, *(worker.service for worker in workers.values())],
        ),
    )
    Events("events", EventsArgs(here, cluster.arn, cluster.name, topic))
    beat = names.of("beat") if settings.beat.enabled else None
    board = Dashboard("dashboard", DashboardArgs(here, cluster.name, services, names.of("monitor"), redis.nodes, beat))

    pulumi.export("vpc", network.vpc_id)
    pulumi.export("privateSubnets", network.private_subnet_ids)
    pulumi.export("tasksSecurityGroup", network.tasks_security_group_id)
    pulumi.export("redisSecurityGroup", network.redis_security_group_id)
    pulumi.export("cluster", cluster.name)
    pulumi.export("services", {queue: worker.service.name for queue, worker in workers.items()})
    pulumi.export("monitor", monitor.service.name)
    pulumi.export("redisHost", redis.broker.host)
    pulumi.export("redisPort", REDIS_PORT)
    pulumi.export("redisUser", names.redis.user)
    # None with IAM, whose tokens are signed for the group.
    pulumi.export("redisPasswordSecret", redis.broker.secret_arn)
    pulumi.export("redisGroup", names.redis.group)
    if redis.results is not None:
        pulumi.export("resultsHost", redis.results.host)
        pulumi.export("resultsUser", names.redis_results.user)
        pulumi.export("resultsPasswordSecret", redis.results.secret_arn)
        pulumi.export("resultsGroup", names.redis_results.group)
    pulumi.export("image", image.digest)
    pulumi.export("queueTable", environment.queue_table(settings))
    pulumi.export("lettersTable", letters.table_name)
    pulumi.export("lettersBucket", letters.bucket_name)
    pulumi.export("alarmTopic", topic)
    pulumi.export("dashboard", board.name)
    console = pulumi.Output.concat(
        "https://", here.region, ".console.aws.amazon.com/cloudwatch/home?region=", here.region
    )
    pulumi.export("dashboardLink", pulumi.Output.concat(console, "#dashboards/dashboard/", board.name))
    if flower is not None:
        pulumi.export("flowerTunnel", flower.tunnel)
        pulumi.export("flowerAddress", f"http://{FLOWER_USER}@localhost:{FLOWER_PORT}/{FLOWER_PREFIX}/")
        pulumi.export("flowerPasswordSecret", flower.secret_arn)
    parts = {
        **{hyphens(queue): True for queue in workers},
        "monitor": True,
        "beat": settings.beat.enabled,
        "flower": settings.flower.enabled,
        "exec": True,
        "flow": settings.network.vpc_id is None,
    }
    logs = {part: names.log_group(part) for part, there in parts.items() if there}
    pulumi.export("logGroups", {**logs, **redis.log_groups})
