"""Where alarms go, and the events of ECS that no metric shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.common import Scope, policy
from infra.plan.names import ALARM_TOPIC


@dataclass(frozen=True)
class NotificationsArgs:
    """Arguments of `Notifications`.

    Attributes:
        scope: The stack.
        key_arn: KMS key of the topic.
        emails: Subscribers.
    """

    scope: Scope
    key_arn: pulumi.Input[str]
    emails: Sequence[str]


class Notifications(pulumi.ComponentResource):
    """An encrypted SNS topic that only this account's alarms and event rules may write to.

    Attributes:
        topic_arn: The topic; known only once its policy stands.
    """

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: NotificationsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create topic, policy and subscriptions."""
        super().__init__("celery-fleet:index:Notifications", name, None, opts)
        scope, child = args.scope, pulumi.ResourceOptions(parent=self)
        topic = aws.sns.Topic(
            name, name=scope.names.of(ALARM_TOPIC), kms_master_key_id=args.key_arn, tags=scope.tags.of(), opts=child
        )
        access = aws.sns.TopicPolicy(
            name,
            arn=topic.arn,
            policy=policy(
                [
                    {
                        "Sid": "Alarms",
                        "Effect": "Allow",
                        "Principal": {"Service": "cloudwatch.amazonaws.com"},
                        "Action": "sns:Publish",
                        "Resource": topic.arn,
                        "Condition": {"StringEquals": {"aws:SourceAccount": scope.account}},
                    },
                    # EventBridge evaluates no conditions here (EventBridge user guide, "resource-based policies").
                    {
                        "Sid": "Events",
                        "Effect": "Allow",
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Action": "sns:Publish",
                        "Resource": topic.arn,
                    },
                ]
            ),
            opts=child,
        )
        for email in args.emails:
            aws.sns.TopicSubscription(email, topic=topic.arn, protocol="email", endpoint=email, opts=child)
        self.topic_arn = access.arn
        self.register_outputs({"topicArn": self.topic_arn})


@dataclass(frozen=True)
class EventsArgs:
    """Arguments of `Events`.

    Attributes:
        scope: The stack.
        cluster_arn: ECS cluster.
        cluster_name: Its name.
        topic_arn: Who hears of it.
    """

    scope: Scope
    cluster_arn: pulumi.Input[str]
    cluster_name: str
    topic_arn: pulumi.Input[str]


class Events(pulumi.ComponentResource):
    """Tells of workers that died, containers that were killed and deployments that failed."""

    def __init__(self, name: str, args: EventsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create one rule a kind of event."""
        super().__init__("celery-fleet:index:Events", name, None, opts)
        self._args, self._child = args, pulumi.ResourceOptions(parent=self)
        # A task that a person starts by hand may end.
        stopped = {"clusterArn": [args.cluster_arn], "lastStatus": ["STOPPED"], "group": [{"prefix": "service:"}]}
        self._rule(
            "worker-died",
            "A task ended by itself or did not start; scaling and deployments do not count",
            {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Task State Change"],
                "detail": {**stopped, "stopCode": ["EssentialContainerExited", "TaskFailedToStart"]},
            },
        )
        self._rule(
            "worker-unhealthy",
            "A task failed its health check and is replaced",
            {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Task State Change"],
                # It has the stop code of scaling and deployments; only the reason tells them apart.
                "detail": {**stopped, "stoppedReason": [{"wildcard": "*failed container health checks*"}]},
            },
        )
        self._rule(
            "worker-killed",
            "A container was killed (137): out of memory, or its tasks outlived the stop timeout",
            {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Task State Change"],
                "detail": {**stopped, "containers": {"exitCode": [137]}},
            },
        )
        self._rule(
            "deployment-failed",
            "A deployment failed and is rolled back",
            {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": [{"prefix": args.scope.arn("ecs", f"service/{args.cluster_name}/")}],
                "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
            },
            reason="$.detail.reason",
            where="$.detail.deploymentId",
            code=None,
        )
        self.register_outputs({})

    def _rule(
        self,
        part: str,
        description: str,
        pattern: object,
        reason: str = "$.detail.stoppedReason",
        # `service:` and the service's name: which queue's worker it was.
        where: str = "$.detail.group",
        code: str | None = "$.detail.containers[0].exitCode",
    ) -> None:
        scope = self._args.scope
        rule = aws.cloudwatch.EventRule(
            part,
            name=scope.names.of(part),
            description=description,
            event_pattern=pulumi.Output.json_dumps(pattern),
            tags=scope.tags.of(),
            opts=self._child,
        )
        aws.cloudwatch.EventTarget(
            part,
            rule=rule.name,
            target_id="alarms",
            arn=self._args.topic_arn,
            input_transformer=aws.cloudwatch.EventTargetInputTransformerArgs(
                input_paths={
                    "reason": reason,
                    "where": where,
                    "what": "$.resources[0]",
                    "time": "$.time",
                    **({"code": code} if code else {}),
                },
                input_template=json.dumps(
                    f"{scope.names.prefix}: {description}: <where>, <what>, <time>: <reason>"
                    + ("; exit code <code>" if code else "")
                ),
            ),
            opts=self._child,
        )
