"""Celery and kombu on a cluster-mode Redis: message transport and result backend.

Importing this package registers the URL schemes `rediscluster://` and `redisclusters://` (TLS) with kombu and with
Celery's result backends.
"""

from celery.app.backends import BACKEND_ALIASES
from kombu.transport import TRANSPORT_ALIASES

from .activity import TransportStats, transport_stats
from .errors import ClusterUnavailableError, ConfigurationError, DeadMessageError, MessageTooLargeError
from .find import Finder, Search, Sighting
from .health import LeaseHealth, lease_health
from .options import SCHEME, TLS_SCHEME, Options, parse
from .session import close_all
from .stats import BrokerInspector, PartStats, QueueStats
from .underway import UnderWay
from .worker import BadMessages

__all__ = [
    "BadMessages",
    "BrokerInspector",
    "ClusterUnavailableError",
    "ConfigurationError",
    "DeadMessageError",
    "Finder",
    "LeaseHealth",
    "MessageTooLargeError",
    "Options",
    "PartStats",
    "QueueStats",
    "Search",
    "Sighting",
    "TransportStats",
    "UnderWay",
    "close_all",
    "lease_health",
    "parse",
    "transport_stats",
]

for _scheme in (SCHEME, TLS_SCHEME):
    TRANSPORT_ALIASES[_scheme] = f"{__name__}.transport:Transport"
    BACKEND_ALIASES[_scheme] = f"{__name__}.backend:ClusterBackend"
