"""The stack's configuration: typed, checked as a whole before anything is registered."""

from infra.config.load import ConfigError, load
from infra.config.model import Fleet, Image
from infra.config.network import Network
from infra.config.redis import Cluster, Redis
from infra.config.tasks import Queue, Task

__all__ = ["Cluster", "ConfigError", "Fleet", "Image", "Network", "Queue", "Redis", "Task", "load"]
