"""Celery and kombu on a cluster-mode Redis: message transport and result backend.

Importing this package registers the URL schemes `rediscluster://` and `redisclusters://` (TLS) with kombu and with
Celery's result backends.
"""

from celery.app.backends import BACKEND_ALIASES
from kombu.transport import TRANSPORT_ALIASES

from .errors import ClusterUnavailableError, ConfigurationError
from .options import SCHEME, TLS_SCHEME
from .stats import BrokerInspector, QueueStats

__all__ = ["BrokerInspector", "ClusterUnavailableError", "ConfigurationError", "QueueStats"]

for _scheme in (SCHEME, TLS_SCHEME):
    TRANSPORT_ALIASES[_scheme] = f"{__name__}.transport:Transport"
    BACKEND_ALIASES[_scheme] = f"{__name__}.backend:ClusterBackend"
