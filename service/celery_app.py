"""The app of this process's environment, for `celery -A service.celery_app` and for publishers."""

from __future__ import annotations

from service.app import create_app
from service.settings import settings_or_exit

app = create_app(settings_or_exit())
