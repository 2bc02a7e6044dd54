"""AWS' Signature Version 4 in a query, as its documentation has it, without botocore: what a server would compute."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote


def elasticache_token(
    *, user: str, group: str, region: str, key: str, secret: str, at: datetime, session: str | None = None
) -> str:
    """The token with which `user` logs in to `group` from `at` on, for 15 minutes."""
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    where = f"{day}/{region}/elasticache/aws4_request"
    parameters = {
        "Action": "connect",
        "User": user,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key}/{where}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": session} if session else {}),
    }
    pairs = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items()]
    # Signed in alphabetical order, sent in any.
    request = "\n".join(
        ["GET", "/", "&".join(sorted(pairs)), f"host:{group}", "", "host", hashlib.sha256(b"").hexdigest()]
    )
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, where, hashlib.sha256(request.encode()).hexdigest()])
    signing = f"AWS4{secret}".encode()
    for part in where.split("/"):
        signing = _mac(signing, part)
    return f"{group}/?{'&'.join(pairs)}&X-Amz-Signature={_mac(signing, to_sign).hex()}"


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
