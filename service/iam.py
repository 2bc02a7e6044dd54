"""Credentials of ElastiCache's IAM authentication: a signed request that stands in the place of a password.

AWS documents it under "Authenticating with IAM" in the ElastiCache user guide. The request is never sent: signing it
needs the task role's credentials and no network, and the node asks IAM whether the role may `elasticache:Connect`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from typing import Final
from urllib.parse import urlencode

import botocore.session
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.model import ServiceId
from botocore.signers import RequestSigner
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

#: Seconds for which ElastiCache takes a token.
TOKEN_SECONDS: Final = 900
#: Seconds for which one is used here: what is left is for clocks that differ, and for a slow log-in.
USED_SECONDS: Final = 600
#: ElastiCache cuts a connection twelve hours after its last log-in; one in use is replaced before that, between two
#: commands. One that nobody uses is cut, and found closed when it is wanted.
CONNECTION_SECONDS: Final = 11 * 3600

_SERVICE: Final = "elasticache"
_SCHEME: Final = "https://"


class IamCredentials(CredentialProvider):
    """User and token for each new connection; redis-py asks. It may be asked by any thread.

    Two threads may sign at the same time: both tokens are good, and a lock would have to be one that green and native
    threads can share.
    """

    def __init__(
        self, user: str, group: str, region: str | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is signed before the first connection.

        Args:
            user: Id, which is the name, of the Redis user.
            group: Id of the replication group; not its endpoint.
            region: AWS region; None leaves it to the AWS_* variables.
            clock: Seconds, from any start.
        """
        self._user, self._group, self._region, self._clock = user, group, region, clock
        # With its session: of that the signer holds a weak reference only.
        self._signer: tuple[int, RequestSigner, botocore.session.Session] | None = None
        self._token: tuple[float, str] | None = None

    def get_credentials(self) -> tuple[str, str]:
        """Return user and token.

        Raises:
            redis.exceptions.ConnectionError: There are no AWS credentials to sign with, for now; worth another try.
        """
        now, known = self._clock(), self._token
        if known is not None and now - known[0] < USED_SECONDS:
            return self._user, known[1]
        try:
            token = self._sign()
        except BotoCoreError as error:
            if known is not None and now - known[0] < TOKEN_SECONDS:
                return self._user, known[1]
            raise RedisConnectionError(f"no token for Redis user {self._user}: {error}") from error
        self._token = (now, token)
        return self._user, token

    def _sign(self) -> str:
        url = f"{_SCHEME}{self._group}/?{urlencode({'Action': 'connect', 'User': self._user})}"
        request = {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}}
        signed = self._own_signer().generate_presigned_url(request, "connect", expires_in=TOKEN_SECONDS)
        # ElastiCache wants what follows the scheme.
        return str(signed).removeprefix(_SCHEME)

    def _own_signer(self) -> RequestSigner:
        if self._signer is None or self._signer[0] != os.getpid():
            # A forked child's could hold a lock whose thread it has not.
            session = botocore.session.get_session()
            credentials = session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            signer = RequestSigner(
                ServiceId(_SERVICE),
                self._region or session.get_config_variable("region"),
                _SERVICE,
                "v4",
                credentials,
                session.get_component("event_emitter"),
            )
            self._signer = (os.getpid(), signer, session)
        return self._signer[1]


@cache
def iam_credentials(user: str, group: str, region: str | None) -> IamCredentials:
    """Return the credentials of this process: connections that log in the same way share what is known of them."""
    return IamCredentials(user, group, region)
