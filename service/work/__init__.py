"""What the tasks compute, as plain functions: no Celery, no Redis, the same result everywhere."""
