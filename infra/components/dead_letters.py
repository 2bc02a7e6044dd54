"""Where dead letters are kept until somebody has handled them, and after that as a record."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.common import Json, Scope, allow, policy
from service.fleet import (
    LETTERS_EXPIRY,
    LETTERS_FOLDER,
    LETTERS_INDEX,
    LETTERS_KEY,
    LETTERS_ORDER,
    LETTERS_SHOWN,
    METRIC_NAMESPACE,
)


@dataclass(frozen=True)
class DeadLettersArgs:
    """Arguments of `DeadLetters`.

    Attributes:
        scope: The stack.
        key_arn: KMS key of table and bucket.
        days: Days for which a letter is kept.
    """

    scope: Scope
    key_arn: pulumi.Input[str]
    days: int


class DeadLetters(pulumi.ComponentResource):
    """A DynamoDB table for letters, and an S3 bucket for the messages that are too large for it.

    Attributes:
        table_name: The table.
        bucket_name: The bucket; known once nobody but this account can read it.
        statements: What a service may do that drains, shows, replays and discards letters.
    """

    table_name: pulumi.Output[str]
    bucket_name: pulumi.Output[str]
    statements: list[Json]

    def __init__(self, name: str, args: DeadLettersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create table and bucket."""
        super().__init__("celery-fleet:index:DeadLetters", name, None, opts)
        self._name, self._args, self._scope = name, args, args.scope
        self._child = pulumi.ResourceOptions(parent=self)
        self._kept = pulumi.ResourceOptions(parent=self, protect=args.scope.protect)
        table, bucket = self._table(), self._bucket()
        self.table_name = table.name
        self.bucket_name = self._closed(bucket)
        self.statements = self._statements(table, bucket)
        self.register_outputs({"tableName": self.table_name, "bucketName": self.bucket_name})

    def _table(self) -> aws.dynamodb.Table:
        attribute, key = aws.dynamodb.TableAttributeArgs, aws.dynamodb.TableGlobalSecondaryIndexKeySchemaArgs
        return aws.dynamodb.Table(
            self._name,
            name=self._scope.names.of("letters"),
            billing_mode="PAY_PER_REQUEST",
            hash_key=LETTERS_KEY,
            attributes=[
                attribute(name=LETTERS_KEY, type="S"),
                attribute(name=LETTERS_INDEX, type="S"),
                attribute(name=LETTERS_ORDER, type="N"),
            ],
            global_secondary_indexes=[
                aws.dynamodb.TableGlobalSecondaryIndexArgs(
                    name=LETTERS_INDEX,
                    key_schemas=[
                        key(attribute_name=LETTERS_INDEX, key_type="HASH"),
                        key(attribute_name=LETTERS_ORDER, key_type="RANGE"),
                    ],
                    projection_type="INCLUDE",
                    non_key_attributes=list(LETTERS_SHOWN),
                )
            ],
            ttl=aws.dynamodb.TableTtlArgs(attribute_name=LETTERS_EXPIRY, enabled=True),
            server_side_encryption=aws.dynamodb.TableServerSideEncryptionArgs(
                enabled=True, kms_key_arn=self._args.key_arn
            ),
            point_in_time_recovery=aws.dynamodb.TablePointInTimeRecoveryArgs(enabled=True),
            deletion_protection_enabled=self._scope.protect,
            tags=self._scope.tags.of(),
            opts=self._kept,
        )

    def _bucket(self) -> aws.s3.Bucket:
        # Bucket names are the world's.
        name = pulumi.Output.concat(self._scope.names.of("letters"), "-", self._scope.account)
        return aws.s3.Bucket(
            self._name,
            bucket=name,
            force_destroy=not self._scope.protect,
            tags=self._scope.tags.of(),
            opts=self._kept,
        )

    def _closed(self, bucket: aws.s3.Bucket) -> pulumi.Output[str]:
        """Encrypt the bucket, shut it, and let what is in it go in time."""
        rule = aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=(
                aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                    sse_algorithm="aws:kms", kms_master_key_id=self._args.key_arn
                )
            ),
            # One key for many objects: fewer calls of KMS.
            bucket_key_enabled=True,
        )
        encrypted = aws.s3.BucketServerSideEncryptionConfiguration(
            self._name, bucket=bucket.id, rules=[rule], opts=self._child
        )
        shut = aws.s3.BucketPublicAccessBlock(
            self._name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )
        aws.s3.BucketPolicy(
            self._name,
            bucket=bucket.id,
            policy=policy(
                [
                    {
                        "Sid": "TlsOnly",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ]
            ),
            # While it is being shut, S3 may refuse a policy.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[shut]),
        )
        aws.s3.BucketLifecycleConfiguration(
            self._name,
            bucket=bucket.id,
            rules=[
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="expire",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=f"{LETTERS_FOLDER}/"),
                    # Not before the table's entry, which DynamoDB removes within days of its expiry.
                    expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=self._args.days + 7),
                    abort_incomplete_multipart_upload=(
                        aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                            days_after_initiation=1
                        )
                    ),
                )
            ],
            opts=self._child,
        )
        return pulumi.Output.all(bucket.bucket, encrypted.id, shut.id).apply(lambda known: str(known[0]))

    def _statements(self, table: aws.dynamodb.Table, bucket: aws.s3.Bucket) -> list[Json]:
        region = self._scope.region
        return [
            allow(
                ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem"],
                [table.arn, pulumi.Output.concat(table.arn, "/index/", LETTERS_INDEX)],
            ),
            allow(["s3:GetObject", "s3:PutObject"], [pulumi.Output.concat(bucket.arn, "/", LETTERS_FOLDER, "/*")]),
            allow(
                [
                    *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"),
                    # DynamoDB keeps its access to the key by a grant.
                    "kms:CreateGrant",
                ],
                [self._args.key_arn],
                StringEquals={
                    "kms:ViaService": [
                        pulumi.Output.concat(service, ".", region, ".amazonaws.com") for service in ("dynamodb", "s3")
                    ]
                },
            ),
            # PutMetricData knows no resources: the namespace is the only fence.
            allow(
                ["cloudwatch:PutMetricData"],
                ["*"],
                StringEquals={"cloudwatch:namespace": METRIC_NAMESPACE},
            ),
        ]
