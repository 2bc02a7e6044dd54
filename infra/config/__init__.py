"""The stack's configuration: typed, checked as a whole before anything is registered."""

from infra.config.alarms import Alarms
from infra.config.flower import Flower
from infra.config.load import ConfigError, load, region_problems
from infra.config.model import Fleet, Image
from infra.config.network import Network
from infra.config.queues import Queue, Spot
from infra.config.redis import Cluster, Redis
from infra.config.schedules import Beat
from infra.config.tasks import Task
from infra.config.warn import warnings

__all__ = [
    "Alarms",
    "Beat",
    "Cluster",
    "ConfigError",
    "Fleet",
    "Flower",
    "Image",
    "Network",
    "Queue",
    "Redis",
    "Spot",
    "Task",
    "load",
    "region_problems",
    "warnings",
]
