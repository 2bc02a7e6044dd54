"""A Redis or Valkey cluster, of the broker or of the results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import config
from infra.components.common import Json, Scope
from infra.components.redis_users import RedisUsers, RedisUsersArgs
from infra.plan.elasticache import Authentication, durability_input, parameter_family
from infra.plan.names import RedisNames
from service.fleet import REDIS_PORT


@dataclass(frozen=True)
class RedisClusterArgs:
    """Arguments of `RedisCluster`.

    Attributes:
        scope: The stack.
        names: The cluster's.
        settings: Engine, size, windows.
        authentication: How the services log in.
        passwords: Numbers of the passwords that are accepted, the one in use last.
        access: What the services may do, as ElastiCache writes it.
        purpose: What is in it, for people.
        log_days: Days to keep slow and engine log.
        key_arn: KMS key of data, logs and secret.
        subnet_ids: Private subnets, one a zone.
        security_group_id: Who may connect.
    """

    scope: Scope
    names: RedisNames
    settings: config.Cluster
    authentication: Authentication
    passwords: tuple[int, ...]
    access: str
    purpose: str
    log_days: int
    key_arn: pulumi.Input[str]
    subnet_ids: list[pulumi.Output[str]]
    security_group_id: pulumi.Input[str]


class RedisCluster(pulumi.ComponentResource):
    """A replication group with shards and replicas, TLS and encryption, its parameters and its logs.

    Attributes:
        host: Configuration endpoint, from which a client learns all nodes.
        secret_arn: The secret with the user's password, and
        password: where ECS reads it; None where IAM vouches for the services.
        statements: What the services' own AWS calls must be allowed.
        log_groups: What a log is called for people -> its group.
    """

    host: pulumi.Output[str]
    secret_arn: pulumi.Output[str] | None
    password: pulumi.Output[str] | None
    statements: list[Json]
    log_groups: dict[str, str]

    def __init__(self, name: str, args: RedisClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the cluster and its access control."""
        super().__init__("celery-fleet:index:RedisCluster", name, None, opts)
        self._name, self._args, self._scope = name, args, args.scope
        self._child = pulumi.ResourceOptions(parent=self)
        self.log_groups = {}
        users = RedisUsers(
            name,
            RedisUsersArgs(
                scope=args.scope,
                names=args.names,
                engine=args.settings.engine,
                authentication=args.authentication,
                passwords=args.passwords,
                access=args.access,
                key_arn=args.key_arn,
            ),
            self._child,
        )
        self.host = self._group(users).configuration_endpoint_address
        self.secret_arn, self.password, self.statements = users.secret_arn, users.password, users.statements
        self.register_outputs({"host": self.host})

    def _group(self, users: RedisUsers) -> aws.elasticache.ReplicationGroup:
        args, scope, settings = self._args, self._scope, self._args.settings
        subnets = aws.elasticache.SubnetGroup(
            self._name,
            description=f"Private subnets of {args.names.group}",
            subnet_ids=args.subnet_ids,
            tags=scope.tags.of(),
            opts=self._child,
        )
        return aws.elasticache.ReplicationGroup(
            self._name,
            replication_group_id=args.names.group,
            description=f"{args.purpose} of {scope.names.prefix}",
            engine=settings.engine,
            engine_version=settings.engine_version,
            durability=durability_input(settings.durability, settings.engine, settings.engine_version),
            node_type=settings.node_type,
            num_node_groups=settings.shards,
            replicas_per_node_group=settings.replicas,
            automatic_failover_enabled=True,
            multi_az_enabled=True,
            port=REDIS_PORT,
            parameter_group_name=self._parameters().name,
            subnet_group_name=subnets.name,
            security_group_ids=[args.security_group_id],
            at_rest_encryption_enabled=True,
            kms_key_id=args.key_arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            user_group_ids=[users.group_id],
            log_delivery_configurations=[self._log("slow", "slow-log"), self._log("engine", "engine-log")],
            snapshot_name=settings.restore_from,
            snapshot_retention_limit=settings.snapshot_days,
            snapshot_window=settings.snapshot_window,
            final_snapshot_identifier=self._final_snapshot() if scope.protect else None,
            maintenance_window=settings.maintenance_window,
            auto_minor_version_upgrade=True,
            apply_immediately=True,
            tags=scope.tags.of(),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=scope.protect,
                # Its id is fixed: two cannot stand side by side.
                delete_before_replace=True,
                # Three shards with replicas take longer than the provider's patience.
                custom_timeouts=pulumi.CustomTimeouts(create="90m", update="120m", delete="60m"),
            ),
        )

    def _final_snapshot(self) -> str:
        # Names of snapshots are taken once: a cluster that was restored must not want the name of its predecessor's.
        origin = self._args.settings.restore_from
        suffix = f"-{hashlib.sha256(origin.encode()).hexdigest()[:6]}" if origin else ""
        return f"{self._args.names.group}-final{suffix}"

    def _parameters(self) -> aws.elasticache.ParameterGroup:
        parameter, settings = aws.elasticache.ParameterGroupParameterArgs, self._args.settings
        return aws.elasticache.ParameterGroup(
            self._name,
            family=parameter_family(settings.engine, settings.engine_version),
            description=f"{self._args.purpose} of {self._scope.names.prefix}: nothing is evicted",
            parameters=[
                parameter(name="cluster-enabled", value="yes"),
                # The default evicts keys with an expiry, which is queued work as well.
                parameter(name="maxmemory-policy", value="noeviction"),
                # Clients check certificates, so nodes introduce themselves by host name.
                parameter(name="cluster-preferred-endpoint-type", value="tls-dynamic"),
            ],
            tags=self._scope.tags.of(),
            opts=self._child,
        )

    def _log(self, part: str, log_type: str) -> aws.elasticache.ReplicationGroupLogDeliveryConfigurationArgs:
        part = f"{self._args.names.part}-{part}"
        self.log_groups[part] = self._scope.names.vended_log_group(part)
        group = aws.cloudwatch.LogGroup(
            part,
            name=self.log_groups[part],
            retention_in_days=self._args.log_days,
            kms_key_id=self._args.key_arn,
            tags=self._scope.tags.of(),
            opts=self._child,
        )
        return aws.elasticache.ReplicationGroupLogDeliveryConfigurationArgs(
            destination=group.name, destination_type="cloudwatch-logs", log_format="json", log_type=log_type
        )
