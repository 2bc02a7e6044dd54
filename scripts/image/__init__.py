"""Builds the service's image and runs it as its task definitions say, with podman and nothing from a registry."""
