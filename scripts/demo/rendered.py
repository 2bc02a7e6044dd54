"""What the demo takes from the rendered stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.demo.errors import DemoError
from scripts.render import Render, RenderError, render
from service import fleet


@dataclass(frozen=True)
class ScalingAlarm:
    """An alarm that starts more workers, on a metric that the monitor publishes.

    Attributes:
        name: The alarm.
        metric: Its metric, in the fleet's namespace.
        dimensions: The metric's dimensions.
        threshold: Above this it fires.
    """

    name: str
    metric: str
    dimensions: Mapping[str, str]
    threshold: float


def rendered(stack: str) -> Render:
    """Render a stack.

    Raises:
        DemoError: It cannot be rendered.
    """
    try:
        return render(stack)
    except RenderError as error:
        raise DemoError(f"The stack {stack} cannot be rendered: {str(error).strip() or 'no reason given'}") from error


def scaling_alarm(stack: Render, queue: str) -> ScalingAlarm:
    """The alarm that scales the workers of a queue out by its depth.

    Raises:
        DemoError: There is none.
    """
    for alarm in stack.of_type("cloudwatch/metricAlarm:MetricAlarm"):
        inputs = alarm.inputs
        dimensions = inputs.get("dimensions") or {}
        scales = any(":scalingPolicy:" in action for action in inputs.get("alarmActions") or ())
        if scales and inputs.get("metricName") == fleet.METRIC_DEPTH and dimensions.get(fleet.DIMENSION_QUEUE) == queue:
            return ScalingAlarm(inputs["name"], inputs["metricName"], dimensions, float(inputs["threshold"]))
    raise DemoError(f"The rendered stack has no alarm that scales {queue} by its depth.")
