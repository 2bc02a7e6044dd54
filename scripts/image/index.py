"""How this machine reaches the package index, for a build that sees nothing of this machine."""

from __future__ import annotations

import ast
import configparser
import io
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Final

from scripts.image.errors import ImageError

#: Where Debian keeps the certificates to trust, in the base image too.
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
#: pip's settings that say where the index is and how it answers; all others would change what is installed.
_PASSED: Final = {"index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout", "retries"}


def pip_settings() -> str:
    """Ask pip how it is configured on this machine, by files and variables.

    Raises:
        ImageError: It does not say.
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ImageError(f"pip does not say how it is configured: {done.stderr.strip()}")
    return done.stdout


def pip_configuration(listed: str) -> str:
    """Turn the output of `pip config list` into a configuration file for the build.

    Args:
        listed: Lines such as `global.timeout='60'`; variables come as `:env:.timeout='60'` and win.

    Returns:
        A pip.conf with what concerns the index; the machine's own files (`file:`) are not there in a build.
    """
    parsed = [(name.rpartition("."), ast.literal_eval(value)) for name, _, value in map(_halves, listed.splitlines())]
    # Sections of single commands, such as `install`, win over `global`, and variables over both.
    ranked = sorted(parsed, key=lambda item: (item[0][0] == ":env:", item[0][0] != "global"))
    settings = {"cert": CERTIFICATES}
    for (_, _, key), value in ranked:
        remote = " ".join(word for word in str(value).split() if not word.startswith("file:"))
        if key in _PASSED and remote:
            settings[key.removeprefix("default-")] = remote
    config = configparser.RawConfigParser()
    config["global"] = settings
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def certificates() -> Path:
    """The certificates that this machine trusts.

    Raises:
        ImageError: They are not in one file.
    """
    paths = ssl.get_default_verify_paths()
    for candidate in (os.environ.get("SSL_CERT_FILE"), CERTIFICATES, paths.cafile):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    raise ImageError("There is no file with the certificates to trust: install ca-certificates.")


def _halves(line: str) -> tuple[str, str, str]:
    return line.partition("=")
