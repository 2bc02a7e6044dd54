"""ElastiCache's IAM tokens: what is in them, how long they are used, and who asks for them."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import botocore.auth
import pytest
from botocore.exceptions import CredentialRetrievalError
from redis.exceptions import ConnectionError as RedisConnectionError

from service.app import create_app
from service.connection import broker_options, result_options
from service.iam import TOKEN_SECONDS, USED_SECONDS, IamCredentials, iam_credentials
from service.rediscluster.errors import is_retryable
from service.settings import Settings
from tests.service.sigv4 import elasticache_token

KEY, SECRET, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=signs"
NOW = datetime(2026, 11, 25, 12, 30, 15, tzinfo=UTC)


class Clock:
    """Both clocks: that of the provider, and the one by which botocore signs."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    clock = Clock()

    def signed_at() -> datetime:
        return datetime.fromtimestamp(NOW.timestamp() + clock.seconds - 1000, UTC)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", signed_at)
    return clock


def test_the_token_is_what_aws_documents(clock: Clock) -> None:
    user, token = IamCredentials("fleet-workers", "fleet", "eu-central-1", clock=clock).get_credentials()
    assert user == "fleet-workers"
    host, _, query = token.partition("/?")
    assert host == "fleet", "the group's id without scheme, not the endpoint"
    parameters = dict(parse_qsl(query))
    assert (parameters["Action"], parameters["User"]) == ("connect", "fleet-workers")
    assert parameters["X-Amz-Expires"] == "900"
    assert parameters["X-Amz-Credential"] == f"{KEY}/20261125/eu-central-1/elasticache/aws4_request"
    assert parameters["X-Amz-Date"] == "20261125T123015Z"
    expected = elasticache_token(
        user="fleet-workers", group="fleet", region="eu-central-1", key=KEY, secret=SECRET, at=NOW
    )
    assert token == expected, "signature and all"


def test_the_credentials_of_a_role_are_named_in_the_token(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    _, token = IamCredentials("u", "g", "eu-central-1", clock=clock).get_credentials()
    expected = elasticache_token(
        user="u", group="g", region="eu-central-1", key=KEY, secret=SECRET, at=NOW, session=SESSION
    )
    assert token == expected


def test_the_region_may_come_from_aws_own_variables(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    _, token = IamCredentials("u", "g", clock=clock).get_credentials()
    assert "us-west-2" in token


def test_a_token_is_used_for_ten_minutes_and_no_longer(clock: Clock) -> None:
    credentials = IamCredentials("u", "g", "eu-central-1", clock=clock)
    first = credentials.get_credentials()
    clock.seconds += USED_SECONDS - 1
    assert credentials.get_credentials() == first
    clock.seconds += 1
    second = credentials.get_credentials()
    assert second != first
    assert "X-Amz-Date=20261125T124015Z" in second[1]
    assert USED_SECONDS < TOKEN_SECONDS == 15 * 60


def test_while_aws_is_silent_a_token_is_used_as_long_as_it_holds(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = IamCredentials("u", "g", "eu-central-1", clock=clock)
    first = credentials.get_credentials()

    def silent(*_: object, **__: object) -> str:
        raise CredentialRetrievalError(provider="container-role", error_msg="no answer")

    monkeypatch.setattr("botocore.signers.RequestSigner.generate_presigned_url", silent)
    clock.seconds += TOKEN_SECONDS - 1
    assert credentials.get_credentials() == first
    clock.seconds += 1
    with pytest.raises(RedisConnectionError, match=r"no token for Redis user u.*no answer") as caught:
        credentials.get_credentials()
    assert is_retryable(caught.value), "a worker tries again instead of ending"


def test_without_any_aws_credentials_the_error_says_so(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(RedisConnectionError, match="Unable to locate credentials"):
        IamCredentials("u", "g", "eu-central-1", clock=clock).get_credentials()


def test_broker_and_results_log_in_with_their_own_tokens() -> None:
    settings = Settings(
        redis_tls=True,
        redis_auth="iam",
        redis_username="fleet-workers",
        redis_group="fleet",
        result_redis_host="results.example",
        result_redis_username="fleet-results",
        result_redis_group="fleet-results",
        aws_region="eu-central-1",
    )
    conf = create_app(settings).conf
    broker, results = conf.broker_transport_options, conf.result_backend_transport_options
    assert broker["credential_provider"] is iam_credentials("fleet-workers", "fleet", "eu-central-1")
    assert results["credential_provider"] is iam_credentials("fleet-results", "fleet-results", "eu-central-1")
    # Everything else that connects shares what is known of the cluster.
    assert broker_options(settings)["credential_provider"] is broker["credential_provider"]
    assert result_options(settings)["credential_provider"] is results["credential_provider"]
    assert conf.broker_url == "redisclusters://localhost:6379"
    assert conf.result_backend == "redisclusters://results.example:6379"
    assert broker["connection_lifetime"] == results["connection_lifetime"] < 12 * 3600


def test_with_one_cluster_the_results_log_in_as_the_broker_does() -> None:
    settings = Settings(
        redis_tls=True, redis_auth="iam", redis_username="u", redis_group="g", aws_region="eu-central-1"
    )
    assert result_options(settings) == broker_options(settings)


def test_a_password_is_no_option() -> None:
    assert broker_options(Settings()) == {}
