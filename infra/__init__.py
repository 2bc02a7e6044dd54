"""The Pulumi program that puts a Celery fleet on AWS."""
