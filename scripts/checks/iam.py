"""IAM policies: valid, least, and each where it belongs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Final

import parliament  # type: ignore[import-untyped] # carries no types

from infra.plan.container import secret_arn
from scripts.checks.problem import Checks, Problem, at
from scripts.checks.views import (
    ROLE,
    SERVICE,
    TASK_DEFINITION,
    allowed,
    as_list,
    containers,
    definition_of,
    documents,
    grants,
    queue_of,
    role_name,
    statements,
)
from scripts.render import Render
from service.fleet import METRIC_NAMESPACE

#: (issue, what the finding names) that parliament reports and that is right here, and why.
ACCEPTED: Final = {
    ("UNKNOWN_CONDITION_FOR_ACTION", "kms:EncryptionContext:aws:logs:arn for action kms:DescribeKey"): (
        "AWS documents the key policy for log groups so, although DescribeKey carries no context"
    ),
    (
        "MISMATCHED_TYPE",
        "kms:EncryptionContext:aws:logs:arn",
    ): "an encryption context is text; the one of a log group is an ARN",
}
#: Actions that parliament 1.6 (April 2025) does not know, and since when AWS has them. None is used so far.
UNKNOWN: Final[dict[str, str]] = {}

#: Where a document hangs decides what it is about: these name no resource, or only themselves.
_OWN_RESOURCE: Final = (
    "ec2/vpcEndpoint:VpcEndpoint",
    "kms/key:Key",
    "secretsmanager/secretPolicy:SecretPolicy",
    "ecr/repositoryPolicy:RepositoryPolicy",
)
_ANY_ROLE: Final = "arn:aws:iam::123456789012:role/any"
#: Families that AWS itself writes with a star: encrypt needs all of them.
_FAMILIES: Final = frozenset(
    {"kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:Encrypt*", "kms:Decrypt*", "kms:Describe*"}
)


def _documents(render: Render) -> Iterator[Problem]:
    """What a linter finds: unknown actions and conditions, wrong ARNs, resources that do not go with the action."""
    for resource, key, document in documents(render):
        own = resource.type.endswith(_OWN_RESOURCE)
        if key == "assumeRolePolicy":
            # A trust policy is about its role; the linter wants to read it.
            document = {**document, "Statement": [{**s, "Resource": _ANY_ROLE} for s in statements(document)]}
        for statement in statements(document):
            text = json.dumps({**document, "Statement": [statement]})
            for issue, detail in _lint(text):
                if not (own and issue == "RESOURCE_STAR") and not _accepted(issue, detail, text):
                    yield at(resource, key, f"{issue}: {detail}")


@cache
def _lint(document: str) -> list[tuple[str, str]]:
    return [(found.issue, str(found.detail)) for found in parliament.analyze_policy_string(document).findings]


def _accepted(issue: str, detail: str, document: str) -> bool:
    if issue == "UNKNOWN_ACTION":
        return any(action in detail for action in UNKNOWN)
    return any(issue == known and (named in detail or named in document) for known, named in ACCEPTED)


def _least(render: Render) -> Iterator[Problem]:
    """A role gets actions by name, and fences where an action knows no resource."""
    for resource, key, document in documents(render):
        if not resource.type.endswith(("iam/rolePolicy:RolePolicy", "iam/policy:Policy")):
            continue
        for statement in statements(document):
            if statement["Effect"] != "Allow":
                continue
            if "NotAction" in statement or "NotResource" in statement:
                yield at(resource, key, "allows what it does not name")
            actions = as_list(statement.get("Action", []))
            for action in actions:
                if "*" in action and action not in _FAMILIES:
                    yield at(resource, key, f"{action} allows actions that nobody has named")
            namespace = statement.get("Condition", {}).get("StringEquals", {}).get("cloudwatch:namespace")
            if "cloudwatch:PutMetricData" in actions and namespace != METRIC_NAMESPACE:
                yield at(resource, key, "cloudwatch:PutMetricData may write any namespace")


def _trust(render: Render) -> Iterator[Problem]:
    """Roles are taken by one AWS service, on behalf of this account."""
    for role in render.of_type(ROLE):
        for statement in statements(json.loads(role.inputs["assumeRolePolicy"])):
            principal = statement["Principal"]
            if not isinstance(principal, dict) or set(principal) != {"Service"}:
                yield at(role, "assumeRolePolicy", "others than AWS' services take it")
            if "aws:SourceAccount" not in statement.get("Condition", {}).get("StringEquals", {}):
                yield at(role, "assumeRolePolicy", "any account's service can be made to take it: aws:SourceAccount")


def _apart(render: Render) -> Iterator[Problem]:
    """ECS starts a task with one role, the task calls AWS with another, and no service shares either."""
    taken: dict[str, str] = {}
    for definition in render.of_type(TASK_DEFINITION):
        for key in ("executionRoleArn", "taskRoleArn"):
            arn = definition.inputs.get(key)
            if arn is None:
                yield at(definition, key, "is missing")
            elif arn in taken:
                yield at(definition, key, f"{role_name(arn)} is also {taken[arn]}")
            else:
                taken[arn] = f"{key} of {definition.name}"


def _execution(render: Render) -> Iterator[Problem]:
    """The execution role reads the secrets, the image and the log of its service; the task role reads no secret."""
    for definition in render.of_type(TASK_DEFINITION):
        execution, task = (role_name(definition.inputs.get(key, "")) for key in ("executionRoleArn", "taskRoleArn"))
        read = _resources(render, execution, "secretsmanager:GetSecretValue")
        wanted = {
            secret_arn(entry["valueFrom"]) for part in containers(definition) for entry in part.get("secrets", [])
        }
        for arn in sorted(wanted - read):
            yield at(definition, "executionRoleArn", f"{execution} may not read {arn}")
        for arn in sorted(read - wanted):
            yield at(definition, "executionRoleArn", f"{execution} may read {arn}, which the task does not use")
        for action in ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "logs:PutLogEvents"):
            if not grants(render, execution, action):
                yield at(definition, "executionRoleArn", f"{execution} lacks {action}")
        for statement in allowed(render, task):
            for action in as_list(statement["Action"]):
                if action.startswith(("secretsmanager:", "ecr:", "iam:")):
                    yield at(definition, "taskRoleArn", f"{task} has {action}, which tasks do not call")


def _resources(render: Render, role: str, action: str) -> set[str]:
    return {arn for statement in grants(render, role, action) for arn in as_list(statement["Resource"])}


def _protection(render: Render) -> Iterator[Problem]:
    """Workers may keep themselves from being scaled in while they are busy."""
    for service in render.of_type(SERVICE):
        if queue_of(render, service) is None:
            continue
        role = role_name(definition_of(render, service).inputs.get("taskRoleArn", ""))
        for action in ("ecs:GetTaskProtection", "ecs:UpdateTaskProtection"):
            if not grants(render, role, action):
                yield at(service, "taskRoleArn", f"{role} lacks {action}")


CHECKS: Final[Checks] = {
    "iam.documents": _documents,
    "iam.least": _least,
    "iam.trust": _trust,
    "iam.apart": _apart,
    "iam.execution": _execution,
    "iam.protection": _protection,
}
