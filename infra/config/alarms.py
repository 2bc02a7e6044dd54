"""The configuration of alarms."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from infra.config.fields import Section, matching

Email = Annotated[str, matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")]
TopicArn = Annotated[str, matching(r"arn:[\w-]+:sns:[\w-]+:\d{12}:[\w-]{1,256}", "the ARN of an SNS topic")]


class Alarms(Section):
    """Who hears of alarms.

    Attributes:
        topic_arn: A topic that exists; none to make one.
        emails: Subscribers of the topic that is made; each confirms by a mail.
        restarts: Workers that may die, and containers that may be killed, in a quarter of an hour.
    """

    topic_arn: TopicArn | None
    emails: tuple[Email, ...]
    restarts: int = Field(ge=0)

    @field_validator("emails")
    @classmethod
    def _of_our_topic(cls, emails: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if emails and info.data.get("topic_arn") is not None:
            raise ValueError("topicArn names a topic that is not ours; subscribe there, or leave topicArn out")
        return emails
