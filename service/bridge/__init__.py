"""Moves the messages of a stock Celery broker on a single Redis into the fleet's queues: `python -m service.bridge`."""
