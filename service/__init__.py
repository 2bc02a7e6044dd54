"""The worker image: the Celery app, its tasks and the cluster transport."""
