"""Switches the URLs of kombu's suite, which are written into it, to the cluster's scheme."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import Connection

from service.rediscluster.transport import Transport

#: The broker's URL, with the credentials that a URL for the same port gets if it has none.
BROKER_VARIABLE = "CONFORMANCE_BROKER_URL"
SCHEMES = {"redis": "rediscluster", "rediss": "redisclusters"}

_original = Connection.__init__


def _switched_init(self: Any, hostname: Any = "localhost", *args: Any, **kwargs: Any) -> None:
    if kwargs.get("transport_options"):
        kwargs["transport_options"] = switched_options(kwargs["transport_options"])
    _original(self, switched(hostname), *args, **kwargs)


def switched(url: Any) -> Any:
    """The same address under the cluster's scheme; what is no URL of Redis stays."""
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in SCHEMES:
        return url
    broker = urlsplit(os.environ[BROKER_VARIABLE])
    credentials, _, host = parts.netloc.rpartition("@")
    if parts.port == broker.port and not credentials:
        host = broker.netloc
    elif credentials:
        host = f"{credentials}@{host}"
    return parts._replace(scheme=SCHEMES[parts.scheme], netloc=host).geturl()


def switched_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options by this transport's names: workers may touch keys below `broker:` only."""
    renamed = dict(options)
    if "global_keyprefix" in renamed:
        renamed["key_prefix"] = f"broker:{renamed.pop('global_keyprefix')}"
    return renamed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name this transport where the suite names its own, and give the suite's switch for priorities our direction."""
    for item in items:
        module: Any = getattr(item, "module", None)
        cls: Any = getattr(item, "cls", None)
        if hasattr(module, "Transport"):
            module.Transport = Transport
        if hasattr(cls, "PRIORITY_ORDER"):
            cls.PRIORITY_ORDER = "asc"


Connection.__init__ = _switched_init  # type: ignore[method-assign]
