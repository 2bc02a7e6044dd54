"""What each resource of a render costs a month: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scripts.cost import prices
from scripts.render import Render, Resource
from scripts.render.services import services
from service.fleet import BEAT_METRICS, QUEUE_METRICS


@dataclass(frozen=True)
class Item:
    """One line of the bill.

    Attributes:
        component: The component at the top that it belongs to.
        what: What is paid for, and how much of it.
        fewest: USD a month with the fewest tasks.
        most: USD a month at full scale-out.
    """

    component: str
    what: str
    fewest: float
    most: float


def bill(render: Render) -> list[Item]:
    """Return everything that costs something while nothing happens, by component.

    Raises:
        UnknownPriceError: A node type has no price.
    """
    top = _tops(render)
    items = [
        Item(top[resource.urn], what, usd, usd)
        for resource in render.resources
        for what, usd in _fixed(resource)
        if usd > 0
    ]
    return [*items, *_tasks(render, top), *_metrics(render, top)]


def total(items: list[Item]) -> tuple[float, float]:
    """USD a month with the fewest tasks, and at full scale-out."""
    return sum(item.fewest for item in items), sum(item.most for item in items)


def _fixed(resource: Resource) -> Iterator[tuple[str, float]]:
    price = _PRICES.get(resource.type)
    if price is not None:
        yield price(resource.inputs)


def _month(hourly: float) -> float:
    return hourly * prices.HOURS


def _redis(inputs: Mapping[str, Any]) -> tuple[str, float]:
    number = inputs["numNodeGroups"] * (1 + inputs["replicasPerNodeGroup"])
    node = prices.node(inputs["nodeType"], inputs["engine"])
    return f"{number} x {inputs['nodeType']}, {inputs['engine']}", _month(number * node)


def _endpoint(inputs: Mapping[str, Any]) -> tuple[str, float]:
    if inputs.get("vpcEndpointType") != "Interface":
        return "gateway endpoint", 0.0
    zones, service = len(inputs["subnetIds"]), inputs["serviceName"].split(".", 3)[-1]
    return f"endpoint {service} in {zones} zones", _month(zones * prices.ENDPOINT)


def _alarm(inputs: Mapping[str, Any]) -> tuple[str, float]:
    metrics = [query["metric"] for query in inputs.get("metricQueries", ()) if "metric" in query] or [inputs]
    quick = any(metric["period"] < 60 for metric in metrics)
    return "alarms", len(metrics) * (prices.QUICK_ALARM if quick else prices.ALARM)


_PRICES: Final[dict[str, Callable[[Mapping[str, Any]], tuple[str, float]]]] = {
    "aws:elasticache/replicationGroup:ReplicationGroup": _redis,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:ec2/natGateway:NatGateway": lambda _: ("NAT gateways", _month(prices.NAT)),
    "aws:ec2/eip:Eip": lambda _: ("public addresses of NAT", _month(prices.PUBLIC_ADDRESS)),
    "aws:cloudwatch/dashboard:Dashboard": lambda _: ("dashboard", prices.DASHBOARD),
    "aws:kms/key:Key": lambda _: ("KMS key", prices.KEY),
    "aws:secretsmanager/secret:Secret": lambda _: ("secrets", prices.SECRET),
}


@dataclass(frozen=True)
class _Size:
    service: Resource
    fewest: int
    most: int
    cpu: float
    memory: float
    architecture: str


def vcpus(render: Render) -> tuple[float, float]:
    """What Fargate runs with the fewest tasks, and at full scale-out: its quota must be above that."""
    sizes = list(_sizes(render))
    return sum(size.fewest * size.cpu for size in sizes), sum(size.most * size.cpu for size in sizes)


def _sizes(render: Render) -> Iterator[_Size]:
    bounds = {
        target.inputs["resourceId"].rpartition("/")[2]: (target.inputs["minCapacity"], target.inputs["maxCapacity"])
        for target in render.of_type("appautoscaling/target:Target")
    }
    definitions = {definition.name: definition.inputs for definition in render.of_type("TaskDefinition")}
    for service in render.of_type("ecs/service:Service"):
        definition, wanted = definitions[service.name], service.inputs["desiredCount"]
        fewest, most = bounds.get(service.inputs["name"], (wanted, wanted))
        cpu, memory = int(definition["cpu"]) / 1024, int(definition["memory"]) / 1024
        yield _Size(service, fewest, most, cpu, memory, definition["runtimePlatform"]["cpuArchitecture"])


def _tasks(render: Render, top: Mapping[str, str]) -> Iterator[Item]:
    for size in _sizes(render):
        per_cpu, per_gb = prices.FARGATE[size.architecture]
        one = _month(size.cpu * per_cpu + size.memory * per_gb)
        number = str(size.fewest) if size.fewest == size.most else f"{size.fewest} to {size.most}"
        what = f"{number} tasks of {size.cpu:g} vCPU and {size.memory:g} GB"
        yield Item(top[size.service.urn], what, size.fewest * one, size.most * one)


def _metrics(render: Render, top: Mapping[str, str]) -> Iterator[Item]:
    """Those that the monitor publishes."""
    found = services(render)
    beats = len(BEAT_METRICS) if any(service.name.endswith("-beat") for service in found) else 0
    number = len(QUEUE_METRICS) * sum(service.queue is not None for service in found) + beats
    monitor = render.one("ecs/service:Service", "monitor")
    usd = number * prices.METRIC
    yield Item(top[monitor.urn], f"{number} custom metrics", usd, usd)


def _tops(render: Render) -> dict[str, str]:
    """URN -> name of the component at the top."""
    by_urn = {resource.urn: resource for resource in render.resources}

    def top(resource: Resource) -> str:
        return top(by_urn[resource.parent]) if resource.parent in by_urn else resource.name

    return {urn: top(resource) for urn, resource in by_urn.items()}
