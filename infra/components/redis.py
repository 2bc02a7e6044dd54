"""Redis as the services see it: one cluster for everything, or a second one for the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from infra import config
from infra.components.common import Json, Scope
from infra.components.redis_cluster import RedisCluster, RedisClusterArgs
from infra.plan.alarms import Alarm, redis_alarms
from infra.plan.elasticache import max_clients
from infra.plan.environment import redis
from infra.plan.names import RedisNames, redis_nodes
from service.fleet import BROKER_ACCESS_STRING, REDIS_ACCESS_STRING, RESULT_ACCESS_STRING


@dataclass(frozen=True)
class RedisArgs:
    """Arguments of `Redis`.

    Attributes:
        scope: The stack.
        settings: Engine, size, windows, authentication.
        log_days: Days to keep slow and engine logs.
        key_arn: KMS key of data, logs and secrets.
        subnet_ids: Private subnets, one a zone.
        security_group_id: Who may connect.
    """

    scope: Scope
    settings: config.Redis
    log_days: int
    key_arn: pulumi.Input[str]
    subnet_ids: list[pulumi.Output[str]]
    security_group_id: pulumi.Input[str]


class Redis(pulumi.ComponentResource):
    """The cluster of the broker and, if they have one, that of the results.

    Attributes:
        broker: The broker's cluster.
        results: That of the results; None if they are kept in the broker's.
        environment: How the services reach both.
        secrets: With which passwords: variable -> where ECS reads it.
        statements: What the services' own AWS calls must be allowed.
        alarms: Of all nodes.
        nodes: What a node is called for people -> its id.
        log_groups: What a log is called for people -> its group.
    """

    broker: RedisCluster
    results: RedisCluster | None = None
    environment: dict[str, pulumi.Input[str]]
    secrets: dict[str, pulumi.Output[str]]
    statements: list[Json]
    alarms: list[Alarm]
    nodes: Mapping[str, str]
    log_groups: dict[str, str]

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the clusters."""
        super().__init__("celery-fleet:index:Redis", name, None, opts)
        self._args = args
        self.environment, self.secrets, self.statements, self.alarms, self.nodes = {}, {}, [], [], {}
        self.log_groups = {}
        if args.settings.authentication != "password":
            self.environment["FLEET_REDIS_AUTH"] = args.settings.authentication
        names, results = args.scope.names, args.settings.results
        if results is None:
            self.broker = self._cluster("", names.redis, args.settings, "Broker and results", REDIS_ACCESS_STRING)
        else:
            self.broker = self._cluster("", names.redis, args.settings, "Broker", BROKER_ACCESS_STRING)
            self.results = self._cluster("RESULT_", names.redis_results, results, "Results", RESULT_ACCESS_STRING)
        self.register_outputs({"host": self.broker.host})

    def _cluster(
        self, prefix: str, names: RedisNames, settings: config.Cluster, purpose: str, access: str
    ) -> RedisCluster:
        """Create one, and note how the services reach it; `prefix` stands in their variables."""
        args = self._args
        cluster = RedisCluster(
            names.part,
            RedisClusterArgs(
                scope=args.scope,
                names=names,
                settings=settings,
                authentication=args.settings.authentication,
                passwords=args.settings.passwords,
                access=access,
                purpose=purpose,
                log_days=args.log_days,
                key_arn=args.key_arn,
                subnet_ids=args.subnet_ids,
                security_group_id=args.security_group_id,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.environment |= redis(f"FLEET_{prefix}REDIS", cluster.host, names, args.settings.authentication)
        if cluster.password is not None:
            self.secrets[f"FLEET_{prefix}REDIS_PASSWORD"] = cluster.password
        self.statements += cluster.statements
        nodes = redis_nodes(names.group, settings.shards, settings.replicas)
        self.alarms += redis_alarms(
            names.part, nodes, settings.memory_alarm, settings.cpu_alarm, max_clients(settings.node_type)
        )
        self.nodes = {**self.nodes, **{node.removeprefix(f"{args.scope.names.prefix}-"): node for node in nodes}}
        self.log_groups |= cluster.log_groups
        return cluster
