"""Throw-away certificates for the local cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from scripts.localcluster.ports import HOST


@dataclass(frozen=True)
class Certificates:
    """Files in PEM format.

    Attributes:
        ca: The authority that clients must trust.
        certificate: The servers' certificate, for 127.0.0.1 and localhost.
        key: Its private key.
    """

    ca: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path) -> Certificates:
    """Make an authority and one server certificate.

    Args:
        directory: An existing directory to write the files to.

    Returns:
        Where they are.
    """
    authority = trustme.CA()
    server = authority.issue_cert(HOST, "localhost")
    files = Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    authority.cert_pem.write_to_path(str(files.ca))
    for blob in server.cert_chain_pems:
        blob.write_to_path(str(files.certificate), append=True)
    files.key.touch(mode=0o600)
    server.private_key_pem.write_to_path(str(files.key))
    return files
