"""Which AWS APIs are reached through interface endpoints, and who may use an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

#: What a task on Fargate needs to start, log and publish: image, layers' addresses, secrets, logs, metrics. ECS' own
#: three endpoints are not among them, except in regions that opened after 23 December 2023 (ECS developer guide,
#: "interface VPC endpoints"): there `network.endpoints` names them.
TASKS: Final = ("ecr.api", "ecr.dkr", "logs", "monitoring", "secretsmanager")
#: What ECS Exec needs beside: the session's channel, and the key that encrypts it.
EXEC: Final = ("kms", "ssmmessages")
#: Free of charge and always there; they are routes, not interfaces.
GATEWAYS: Final = ("dynamodb", "s3")


@dataclass(frozen=True)
class Interface:
    """An interface endpoint.

    Attributes:
        service: AWS' name of the service, behind `com.amazonaws.<region>.`.
        fenced: Whether it has a policy; not every service lets an endpoint have one.
    """

    service: str
    fenced: bool


def interfaces(without_nat: bool, exec_: bool, named: Iterable[str]) -> tuple[Interface, ...]:
    """Return the interface endpoints, sorted by service.

    Args:
        without_nat: Whether tasks have no other way to AWS.
        exec_: Whether ECS Exec is on.
        named: What the configuration names.
    """
    own = {*TASKS, *(EXEC if exec_ else ())} if without_nat else set()
    return tuple(
        # Of what the configuration names, and of the sessions' channel, it is not known whether a policy is accepted.
        Interface(service, service in TASKS or service == "kms")
        for service in sorted({*own, *named})
    )


def own_principals(account: Any) -> dict[str, Any]:
    """Return the policy of an interface endpoint: roles of this account, so that foreign credentials carry nothing out.

    What a role may do is said by the role; `account` may be an output.
    """
    condition = {"StringEquals": {"aws:PrincipalAccount": account}}
    return _document([_allow("OwnPrincipals", "*", "*", condition)])


def own_data(service: str, account: Any, others: Iterable[str], layers: Any) -> dict[str, Any]:
    """Return the policy of a gateway endpoint: this account's roles on this account's buckets or tables.

    Args:
        service: `s3` or `dynamodb`.
        account: This account; may be an output.
        others: Accounts whose buckets and tables may be used as well.
        layers: ARN of the bucket from which ECR hands out image layers; may be an output.
    """
    condition = {"StringEquals": {"aws:PrincipalAccount": account, "aws:ResourceAccount": [account, *others]}}
    statements = [_allow("OwnData", f"{service}:*", "*", condition)]
    if service == "s3":
        # The addresses of layers are signed by ECR, not by a role of this account.
        statements.append(_allow("ImageLayers", "s3:GetObject", layers))
    return _document(statements)


def _allow(sid: str, action: str, resource: Any, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
