"""What every component needs: where it runs, how things are called, how they are tagged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.plan.names import Names
from infra.plan.tags import Tags

#: A policy document or another JSON object that may hold outputs.
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Scope:
    """One stack in one account and region.

    Attributes:
        names: The names of the stack's resources.
        tags: Their tags.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        region: Region's code.
        account: Account's twelve digits.
        protect: Whether resources with data refuse to be deleted.
    """

    names: Names
    tags: Tags
    partition: pulumi.Output[str]
    region: pulumi.Output[str]
    account: pulumi.Output[str]
    protect: bool

    def arn(self, service: str, resource: pulumi.Input[str]) -> pulumi.Output[str]:
        """Return the ARN of a regional resource of this account."""
        return pulumi.Output.concat(
            "arn:", self.partition, ":", service, ":", self.region, ":", self.account, ":", resource
        )


def scope(names: Names, tags: Tags, protect: bool) -> Scope:
    """Ask AWS where the stack runs."""
    return Scope(
        names=names,
        tags=tags,
        partition=aws.get_partition_output().partition,
        region=aws.get_region_output().region,
        account=aws.get_caller_identity_output().account_id,
        protect=protect,
    )


def allow(actions: list[str], resources: list[Any], **condition: Any) -> Json:
    """Return an Allow statement; `condition` maps operators to their keys."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})


def policy(statements: list[Json]) -> pulumi.Output[str]:
    """Return an IAM policy document as JSON."""
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": statements})


def trust(scope: Scope, service: str, source: pulumi.Input[str]) -> pulumi.Output[str]:
    """Return the document that lets an AWS service take a role, on behalf of this account's `source` ARN only."""
    return policy(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": scope.account},
                    "ArnLike": {"aws:SourceArn": source},
                },
            }
        ]
    )
