"""Cluster-mode Redis: broker and result backend."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_random as random

from infra import config
from infra.components.common import Scope
from service.fleet import REDIS_ACCESS_STRING, REDIS_PORT

#: The Redis user of workers and monitor.
USER_NAME = "workers"


@dataclass(frozen=True)
class RedisArgs:
    """Arguments of `Redis`.

    Attributes:
        scope: The stack.
        settings: Size, windows, versions.
        log_days: Days to keep slow and engine log.
        key_arn: KMS key of data, logs and secret.
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
    """A replication group with shards and replicas, TLS, encryption and one user with only the rights it needs.

    Attributes:
        host: Configuration endpoint, from which a client learns all nodes.
        port: TCP port.
        user_name: Redis user.
        password_arn: ARN of the secret with the user's password; known once the secret holds it.
    """

    host: pulumi.Output[str]
    port: int
    user_name: str
    password_arn: pulumi.Output[str]

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the cluster and its access control."""
        super().__init__("celery-fleet:index:Redis", name, None, opts)
        self._args, self._scope = args, args.scope
        self._child = pulumi.ResourceOptions(parent=self)
        scope, settings = args.scope, args.settings
        parameters = aws.elasticache.ParameterGroup(
            name,
            family="redis7",
            description=f"Queues of {scope.names.prefix}: nothing is evicted",
            parameters=[
                aws.elasticache.ParameterGroupParameterArgs(name="cluster-enabled", value="yes"),
                # The default evicts keys with an expiry, which is queued work as well.
                aws.elasticache.ParameterGroupParameterArgs(name="maxmemory-policy", value="noeviction"),
                # Clients check certificates, so nodes introduce themselves by host name.
                aws.elasticache.ParameterGroupParameterArgs(
                    name="cluster-preferred-endpoint-type", value="tls-dynamic"
                ),
            ],
            tags=scope.tags.of(),
            opts=self._child,
        )
        subnets = aws.elasticache.SubnetGroup(
            name,
            description=f"Private subnets of {scope.names.prefix}",
            subnet_ids=args.subnet_ids,
            tags=scope.tags.of(),
            opts=self._child,
        )
        group = aws.elasticache.ReplicationGroup(
            name,
            replication_group_id=scope.names.redis,
            description=f"Broker and results of {scope.names.prefix}",
            engine="redis",
            engine_version=settings.engine_version,
            node_type=settings.node_type,
            num_node_groups=settings.shards,
            replicas_per_node_group=settings.replicas,
            automatic_failover_enabled=True,
            multi_az_enabled=True,
            port=REDIS_PORT,
            parameter_group_name=parameters.name,
            subnet_group_name=subnets.name,
            security_group_ids=[args.security_group_id],
            at_rest_encryption_enabled=True,
            kms_key_id=args.key_arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            user_group_ids=[self._users().user_group_id],
            log_delivery_configurations=[self._log("slow", "slow-log"), self._log("engine", "engine-log")],
            snapshot_retention_limit=settings.snapshot_days,
            snapshot_window=settings.snapshot_window,
            final_snapshot_identifier=f"{scope.names.redis}-final" if scope.protect else None,
            maintenance_window=settings.maintenance_window,
            auto_minor_version_upgrade=True,
            apply_immediately=True,
            tags=scope.tags.of(),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=scope.protect,
                # Three shards with replicas take longer than the provider's patience.
                custom_timeouts=pulumi.CustomTimeouts(create="90m", update="120m", delete="60m"),
            ),
        )
        self.host = group.configuration_endpoint_address
        self.port, self.user_name = REDIS_PORT, USER_NAME
        self.register_outputs({"host": self.host})

    def _users(self) -> aws.elasticache.UserGroup:
        """Create the workers' user, and shut the `default` user that every group must have."""
        names, tags = self._scope.names, self._scope.tags.of()
        password = self._password(USER_NAME)
        workers = self._user(USER_NAME, REDIS_ACCESS_STRING, password)
        # The name `default` replaces ElastiCache's own, which may do everything without a password.
        nobody = self._user("default", "off -@all", self._password("default"))
        secret = aws.secretsmanager.Secret(
            "password",
            name=names.secret("redis-password"),
            description=f"Password of the Redis user {USER_NAME} of {names.prefix}",
            kms_key_id=self._args.key_arn,
            recovery_window_in_days=7 if self._scope.protect else 0,
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self, protect=self._scope.protect),
        )
        version = aws.secretsmanager.SecretVersion(
            "password", secret_id=secret.id, secret_string=password, opts=self._child
        )
        self.password_arn = version.secret_arn
        return aws.elasticache.UserGroup(
            "users",
            user_group_id=names.redis,
            engine="redis",
            user_ids=[nobody.user_id, workers.user_id],
            tags=tags,
            opts=self._child,
        )

    def _password(self, user: str) -> pulumi.Output[str]:
        # ElastiCache refuses most punctuation; 48 letters and digits are 285 bits.
        return pulumi.Output.secret(
            random.RandomPassword(f"{user}-password", length=48, special=False, opts=self._child).result
        )

    def _user(self, user: str, access: str, password: pulumi.Output[str]) -> aws.elasticache.User:
        return aws.elasticache.User(
            user,
            user_id=self._scope.names.redis_user(user),
            user_name=user,
            engine="redis",
            access_string=access,
            authentication_mode=aws.elasticache.UserAuthenticationModeArgs(type="password", passwords=[password]),
            tags=self._scope.tags.of(),
            opts=self._child,
        )

    def _log(self, part: str, log_type: str) -> aws.elasticache.ReplicationGroupLogDeliveryConfigurationArgs:
        group = aws.cloudwatch.LogGroup(
            part,
            name=self._scope.names.vended_log_group(f"redis-{part}"),
            retention_in_days=self._args.log_days,
            kms_key_id=self._args.key_arn,
            tags=self._scope.tags.of(),
            opts=self._child,
        )
        return aws.elasticache.ReplicationGroupLogDeliveryConfigurationArgs(
            destination=group.name, destination_type="cloudwatch-logs", log_format="json", log_type=log_type
        )
