"""Who may log in to a Redis cluster: the services' user and nobody else."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components import secret
from infra.components.common import Json, Scope, allow
from infra.plan.elasticache import Authentication, Engine
from infra.plan.names import RedisNames


@dataclass(frozen=True)
class RedisUsersArgs:
    """Arguments of `RedisUsers`.

    Attributes:
        scope: The stack.
        names: The cluster's.
        engine: The cluster's.
        authentication: How the services log in.
        passwords: Numbers of the passwords that are accepted, the one in use last.
        access: What the services' user may do, as ElastiCache writes it.
        key_arn: KMS key of the secret.
    """

    scope: Scope
    names: RedisNames
    engine: Engine
    authentication: Authentication
    passwords: tuple[int, ...]
    access: str
    key_arn: pulumi.Input[str]


class RedisUsers(pulumi.ComponentResource):
    """The services' user with only the rights it needs, a `default` user that is shut, and the secret of a password.

    Attributes:
        group_id: The group of both.
        secret_arn: The secret with the password in use; None where IAM vouches for the services.
        password: Where ECS reads the password: exactly the one of this deployment, so that a new one is a new task
            definition, and a task of the old one still gets what it was made with. None as above.
        statements: What the services' own AWS calls must be allowed: nothing with a password.
    """

    group_id: pulumi.Output[str]
    secret_arn: pulumi.Output[str] | None = None
    password: pulumi.Output[str] | None = None
    statements: list[Json]

    def __init__(self, name: str, args: RedisUsersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the users, their group and the secret."""
        super().__init__("celery-fleet:index:RedisUsers", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        mode = aws.elasticache.UserAuthenticationModeArgs
        self.statements = []
        if args.authentication == "iam":
            workers = self._user("workers", args.names.user, args.names.user, args.access, mode(type="iam"))
            self.statements.append(self._connect())
        else:
            passwords = [self._password(f"workers-password-{number}") for number in args.passwords]
            workers = self._user(
                "workers", args.names.user, args.names.user, args.access, mode(type="password", passwords=passwords)
            )
            self._secret(passwords[-1], workers)
        # In the place of ElastiCache's own `default`, which may do everything without a password. Redis wants one in
        # every group, Valkey takes one.
        nobody = self._user(
            "default",
            args.names.nobody,
            "default",
            "off -@all",
            mode(type="password", passwords=[self._password("default-password")]),
        )
        group = aws.elasticache.UserGroup(
            name,
            user_group_id=args.names.group,
            engine=args.engine,
            user_ids=[nobody.user_id, workers.user_id],
            tags=args.scope.tags.of(),
            opts=self._child,
        )
        self.group_id = group.user_group_id
        self.register_outputs({"groupId": self.group_id})

    def _user(
        self,
        part: str,
        user_id: str,
        user_name: str,
        access: str,
        mode: aws.elasticache.UserAuthenticationModeArgs,
    ) -> aws.elasticache.User:
        return aws.elasticache.User(
            f"{self._name}-{part}",
            user_id=user_id,
            user_name=user_name,
            engine=self._args.engine,
            access_string=access,
            authentication_mode=mode,
            tags=self._args.scope.tags.of(),
            opts=self._child,
        )

    def _password(self, part: str) -> pulumi.Output[str]:
        return secret.password(f"{self._name}-{part}", self)

    def _secret(self, password: pulumi.Output[str], user: aws.elasticache.User) -> None:
        names = self._args.names
        version = secret.keep(
            f"{self._name}-password",
            self._args.scope,
            f"{names.part}-password",
            f"Password of the Redis user {names.user}",
            password,
            self._args.key_arn,
            self,
            # Nobody reads a password that is not accepted yet.
            after=[user],
        )
        self.secret_arn, self.password = version.secret_arn, secret.reference(version)

    def _connect(self) -> Json:
        scope, names = self._args.scope, self._args.names
        return allow(
            ["elasticache:Connect"],
            [
                scope.arn("elasticache", f"replicationgroup:{names.group}"),
                scope.arn("elasticache", f"user:{names.user}"),
            ],
        )
