"""Flower, Celery's web page about workers and tasks, for this fleet: behind a login, with the cluster's queues."""
