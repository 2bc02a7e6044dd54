"""Signed messages: with a signing directory, workers run only what the holder of a trusted key has sent.

Celery's serializer `auth`, from one directory: `key.pem` (RSA, private), `certificate.pem` (its certificate) and the
certificates that are trusted in `trusted/`. docs/security.md says what a signature covers and what it does not.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator

if TYPE_CHECKING:
    from celery import Celery

KEY: Final = "key.pem"
CERTIFICATE: Final = "certificate.pem"
TRUSTED: Final = "trusted"


def _complete(directory: Path) -> Path:
    for name in (KEY, CERTIFICATE):
        if not os.access(directory / name, os.R_OK):
            raise ValueError(f"cannot read {directory / name}")
    if not any((directory / TRUSTED).glob("*.pem")):
        raise ValueError(f"no certificate (*.pem) in {directory / TRUSTED}: nobody would be trusted")
    if importlib.util.find_spec("cryptography") is None:
        raise ValueError("signing needs the package cryptography: install requirements/signing.txt")
    return directory


#: A directory that has everything.
SigningDirectory = Annotated[Path, AfterValidator(_complete)]


def sign(app: Celery, directory: Path) -> None:
    """Sign what the app sends, and refuse what nobody trusted has signed; the key is the whole process's.

    Args:
        app: Its tasks and remote control are signed; results and events stay plain JSON.
        directory: See above.

    Raises:
        ImproperlyConfigured: A key or certificate is wrong, expired, or not RSA.
    """
    # The settings import this module, and not everybody who reads them needs Celery.
    from celery.exceptions import ImproperlyConfigured, SecurityError

    if "pickle" in app.conf.accept_content:
        raise ImproperlyConfigured("FLEET_ALLOW_PICKLE: with FLEET_SIGNING_DIRECTORY only signed messages are accepted")
    app.conf.update(
        task_serializer="auth",
        accept_content=["auth"],
        security_key=str(directory / KEY),
        security_certificate=str(directory / CERTIFICATE),
        security_cert_store=str(directory / TRUSTED / "*.pem"),
    )
    try:
        # What is accepted from whom is set on the app; results and events are JSON.
        app.setup_security(allowed_serializers={"json"})
    except (SecurityError, ValueError, OSError) as error:
        raise ImproperlyConfigured(f"FLEET_SIGNING_DIRECTORY: {error}") from error
