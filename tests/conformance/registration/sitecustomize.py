"""Registers the transport in every Python process of a suite's run, also in those that its tests start."""

import service.rediscluster  # noqa: F401 # importing it is what registers
