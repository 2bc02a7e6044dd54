"""Keeps ECS from stopping a worker, at a scale-in or in a deployment, while it runs tasks that outlast its grace."""
