"""The stack's configuration: typed, checked as a whole before anything is registered."""

from infra.config.alarms import Alarms
from infra.config.load import ConfigError, load, region_problems
from infra.config.model import Fleet, Image
from infra.config.network import Network
from infra.config.redis import Redis
from infra.config.schedules import Beat
from infra.config.tasks import Queue, Task

__all__ = [
    "Alarms",
    "Beat",
    "ConfigError",
    "Fleet",
    "Image",
    "Network",
    "Queue",
    "Redis",
    "Task",
    "load",
    "region_problems",
]
