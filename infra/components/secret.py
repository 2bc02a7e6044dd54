"""Secrets that the stack itself makes."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws
import pulumi_random as random

from infra.components.common import Scope

#: Letters and digits: ElastiCache refuses most punctuation. 48 of them are 285 bits.
_LENGTH = 48


def password(name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Make up a password."""
    made = random.RandomPassword(name, length=_LENGTH, special=False, opts=pulumi.ResourceOptions(parent=parent))
    return pulumi.Output.secret(made.result)


def keep(
    name: str,
    scope: Scope,
    part: str,
    description: str,
    text: pulumi.Output[str],
    key_arn: pulumi.Input[str],
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource] = (),
) -> aws.secretsmanager.SecretVersion:
    """Put a text into Secrets Manager.

    Args:
        name: Of the resources.
        scope: The stack.
        part: What the secret's name in AWS ends in.
        description: What it is, for people.
        text: The secret.
        key_arn: KMS key that encrypts it.
        parent: Whose it is.
        after: What must exist before anybody reads it.
    """
    secret = aws.secretsmanager.Secret(
        name,
        name=scope.names.secret(part),
        description=description,
        kms_key_id=key_arn,
        # Made up here and in the state, so that nothing is lost with it; its name must be free for the next one.
        recovery_window_in_days=0,
        tags=scope.tags.of(),
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return aws.secretsmanager.SecretVersion(
        name,
        secret_id=secret.id,
        secret_string=text,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )


def reference(version: aws.secretsmanager.SecretVersion) -> pulumi.Output[str]:
    """Return where ECS reads exactly this version: another one is another task definition."""
    # JSON key and stage stay empty.
    return pulumi.Output.concat(version.secret_arn, ":::", version.version_id)
