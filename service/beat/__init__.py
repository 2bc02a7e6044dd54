"""Periodic tasks: two processes, one of which leads and publishes each tick once. See docs/periodic-tasks.md.

Whether a tick is published is decided by its queue alone, in one step with the message (`service.rediscluster.kept`).
The leader's lease only saves the other process the work, and correctness does not hang on it.
"""
