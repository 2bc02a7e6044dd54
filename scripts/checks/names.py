"""Names and tags within AWS' limits, and nobody else's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from scripts.checks.problem import Checks, Problem, at
from scripts.checks.provider import takes_tags
from scripts.checks.views import SERVICE, queue_of
from scripts.render import Render, Resource

#: Type -> input that names it, and what AWS takes: limits that the API's model does not state, or states too late.
_NAMES: Final = {
    "cloudwatch/eventRule:EventRule": ("name", r"[.\-_A-Za-z0-9]{1,64}"),
    "cloudwatch/logGroup:LogGroup": ("name", r"[.\-_/#A-Za-z0-9]{1,512}"),
    "cloudwatch/metricAlarm:MetricAlarm": ("name", r"[^\x00-\x1f]{1,255}"),
    "cloudwatch/dashboard:Dashboard": ("dashboardName", r"[A-Za-z0-9_-]{1,255}"),
    "dynamodb/table:Table": ("name", r"[A-Za-z0-9_.-]{3,255}"),
    "ecr/repository:Repository": ("name", r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"),
    "ecs/cluster:Cluster": ("name", r"[A-Za-z0-9_-]{1,255}"),
    "ecs/service:Service": ("name", r"[A-Za-z0-9_-]{1,255}"),
    "ecs/taskDefinition:TaskDefinition": ("family", r"[A-Za-z0-9_-]{1,255}"),
    "iam/role:Role": ("name", r"[\w+=,.@-]{1,64}"),
    "kms/alias:Alias": ("name", r"alias/(?!aws/)[A-Za-z0-9/_-]{1,250}"),
    "lb/loadBalancer:LoadBalancer": ("name", r"(?!internal-)[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"),
    "lb/targetGroup:TargetGroup": ("name", r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"),
    "s3/bucket:Bucket": ("bucket", r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "sns/topic:Topic": ("name", r"[A-Za-z0-9_-]{1,256}"),
}
_REQUIRED_TAGS: Final = frozenset({"Project", "Environment", "Owner", "ManagedBy"})
_TAG: Final = re.compile(r"[\w\s_.:/=+\-@]*")


def _limits(render: Render) -> Iterator[Problem]:
    """A name that is too long or of a wrong alphabet is refused in the middle of a deployment."""
    for type_, (key, pattern) in _NAMES.items():
        for resource in render.of_type(type_):
            name = resource.inputs.get(key)
            if name is not None and not re.fullmatch(pattern, name):
                yield at(resource, key, f"{name!r} is not {pattern}")


def _unique(render: Render) -> Iterator[Problem]:
    """Two resources of a kind never have the same name, and every name says whose it is."""
    for type_, (key, _) in _NAMES.items():
        taken: dict[str, Resource] = {}
        for resource in render.of_type(type_):
            name = resource.inputs.get(key)
            if name is None:
                continue
            if name in taken:
                yield at(resource, key, f"{name!r} is also the name of {taken[name].name}")
            taken[name] = resource
            if render.stack not in name:
                yield at(resource, key, f"{name!r} does not hold the stack's name: another stack may take it")


def _tags(render: Render) -> Iterator[Problem]:
    """Whatever can be tagged is, within AWS' limits."""
    for resource in render.resources:
        if not resource.type.startswith("aws:") or not takes_tags(resource.type):
            continue
        tags = resource.inputs.get("tags", {})
        if missing := _REQUIRED_TAGS - set(tags):
            yield at(resource, "tags", f"{', '.join(sorted(missing))} missing")
        if len(tags) > 50:
            yield at(resource, "tags", f"{len(tags)} are more than 50")
        for key, value in tags.items():
            if len(key) > 128 or len(value) > 256 or not _TAG.fullmatch(value) or key.startswith("aws:"):
                yield at(resource, f"tags.{key}", f"{value!r} is no tag")


def _queue_tags(render: Render) -> Iterator[Problem]:
    """What belongs to a queue carries its name: cost and ownership are told apart by it."""
    for service in render.of_type(SERVICE):
        queue = queue_of(render, service)
        if queue is not None and service.inputs.get("tags", {}).get("Queue") != queue:
            yield at(service, "tags.Queue", f"is not {queue}")


CHECKS: Final[Checks] = {
    "names.limits": _limits,
    "names.unique": _unique,
    "names.tags": _tags,
    "names.queue-tags": _queue_tags,
}
