"""The service's own tasks, one module per queue: a module's name is what routes its tasks (see `service.routing`)."""

from service.tasks import data, dead_letter, default, high_priority, monitoring, sync, workflow

__all__ = ["data", "dead_letter", "default", "high_priority", "monitoring", "sync", "workflow"]
