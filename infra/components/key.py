"""The stack's encryption key."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.common import Scope, policy
from infra.plan.names import ALARM_TOPIC


@dataclass(frozen=True)
class KeyArgs:
    """Arguments of `Key`.

    Attributes:
        scope: The stack.
    """

    scope: Scope


class Key(pulumi.ComponentResource):
    """One customer-managed KMS key for Redis, secrets, images, logs, alarms, dead letters and the disks of tasks.

    Attributes:
        arn: The key's ARN; known only after the alias exists.
    """

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: KeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the key, its policy and its alias."""
        super().__init__("celery-fleet:index:Key", name, None, opts)
        scope = args.scope
        key = aws.kms.Key(
            name,
            description=f"Data of {scope.names.prefix}",
            enable_key_rotation=True,
            deletion_window_in_days=30 if scope.protect else 7,
            policy=_policy(scope),
            tags=scope.tags.of(scope.names.prefix),
            opts=pulumi.ResourceOptions(parent=self, protect=scope.protect),
        )
        aws.kms.Alias(
            name,
            name=f"alias/{scope.names.prefix}",
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})


def _policy(scope: Scope) -> pulumi.Output[str]:
    """Leave the decision to IAM, and let the services in that act without a caller."""
    cluster = {
        "kms:EncryptionContext:aws:ecs:clusterAccount": scope.account,
        "kms:EncryptionContext:aws:ecs:clusterName": scope.names.prefix,
    }
    return policy(
        [
            {
                "Sid": "IamDecides",
                "Effect": "Allow",
                "Principal": {"AWS": pulumi.Output.concat("arn:", scope.partition, ":iam::", scope.account, ":root")},
                "Action": "kms:*",
                "Resource": "*",
            },
            {
                "Sid": "LogGroups",
                "Effect": "Allow",
                "Principal": {"Service": pulumi.Output.concat("logs.", scope.region, ".amazonaws.com")},
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                "Resource": "*",
                "Condition": {
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": [
                            scope.arn("logs", f"log-group:{prefix}*") for prefix in scope.names.log_prefixes
                        ]
                    }
                },
            },
            # EventBridge does not say for whom it writes to an encrypted topic: there is neither aws:SourceAccount nor
            # aws:SourceArn (SNS developer guide, "event sources and encrypted topics"). Which topic it is, SNS says.
            {
                "Sid": "AlarmsAndEventsToEncryptedTopic",
                "Effect": "Allow",
                "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                "Resource": "*",
                "Condition": {
                    "StringEquals": {
                        "kms:EncryptionContext:aws:sns:topicArn": scope.arn("sns", scope.names.of(ALARM_TOPIC))
                    }
                },
            },
            # The disks of tasks (ECS developer guide, "customer managed keys for Fargate ephemeral storage").
            {
                "Sid": "DisksOfTasks",
                "Effect": "Allow",
                "Principal": {"Service": "fargate.amazonaws.com"},
                "Action": ["kms:GenerateDataKeyWithoutPlaintext"],
                "Resource": "*",
                "Condition": {"StringEquals": cluster},
            },
            {
                "Sid": "GrantsForDisksOfTasks",
                "Effect": "Allow",
                "Principal": {"Service": "fargate.amazonaws.com"},
                "Action": ["kms:CreateGrant"],
                "Resource": "*",
                "Condition": {
                    "StringEquals": cluster,
                    "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]},
                },
            },
        ]
    )
