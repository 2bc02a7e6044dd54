"""How this process logs in to its Redis clusters: options for the transport, the results, and whoever else connects."""

from __future__ import annotations

from typing import Any

from service.settings import Settings


def broker_options(settings: Settings) -> dict[str, Any]:
    """Return what beside the URL says how to connect to the broker's cluster."""
    return _options(settings, settings.redis_username, settings.redis_group)


def result_options(settings: Settings) -> dict[str, Any]:
    """Return the same for the results."""
    if settings.result_redis_host is None:
        return broker_options(settings)
    return _options(settings, settings.result_redis_username, settings.result_redis_group)


def _options(settings: Settings, user: str | None, group: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"ssl_ca_certs": str(settings.redis_ca_file)} if settings.redis_ca_file else {}
    if settings.redis_auth == "iam":
        # botocore takes longer to import than all else that a worker needs.
        from service.iam import CONNECTION_SECONDS, iam_credentials

        options |= {
            "credential_provider": iam_credentials(user or "", group or "", settings.aws_region),
            "connection_lifetime": CONNECTION_SECONDS,
        }
    return options
