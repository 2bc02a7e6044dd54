"""Safety of messages: sizes, signatures, pickle, and what logs and headers do not tell."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from celery import Celery
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr, ValidationError

from scripts.localcluster import LocalCluster
from service import logs
from service.app import create_app
from service.redaction import Redaction
from service.rediscluster import BrokerInspector, MessageTooLargeError
from service.settings import Settings
from service.signing import CERTIFICATE, KEY, TRUSTED
from service.why.facts import gather
from service.why.words import lines
from tests.service.running import Container, container, environment

TASKS = "tests.service.why_tasks"
QUEUE = "monitoring_queue"
#: Served by workers with signatures alone.
SIGNED = "workflow_queue"
SECRET = "hunter2-the-password"


def settings(cluster: LocalCluster, **values: Any) -> Settings:
    return Settings(
        redis_host="127.0.0.1",
        redis_port=cluster.primaries[0].port,
        redis_username=cluster.username,
        redis_password=SecretStr(cluster.password),
        **values,
    )


@pytest.fixture(scope="module")
def why(app: Celery, cluster: LocalCluster) -> Callable[[str, str], str]:
    """Ask about a task until something is said of it."""

    def ask(task_id: str, said: str) -> str:
        deadline = time.monotonic() + 60
        while True:
            answer = "\n".join(lines(gather(app, settings(cluster), task_id)))
            if said in answer:
                return answer
            assert time.monotonic() < deadline, f"{said!r} is not said: {answer}"

    return ask


def send(app: Celery, task: str, *args: Any, queue: str = QUEUE, **options: Any) -> str:
    return str(app.send_task(f"{TASKS}.{task}", args, queue=queue, **options).id)


def publish(app: Celery, body: bytes, content_type: str, encoding: str, queue: str = QUEUE, **headers: Any) -> None:
    """Publish what Celery would not."""
    with app.producer_or_acquire() as producer:
        producer.publish(
            body,
            routing_key=queue,
            content_type=content_type,
            content_encoding=encoding,
            headers=headers,
            correlation_id=headers.get("id"),
        )


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_a_message_above_the_limit_is_not_published(cluster: LocalCluster) -> None:
    app = create_app(settings(cluster, message_limit=4096))
    inspector = BrokerInspector(app.conf.broker_url, app.conf.broker_transport_options)
    before = inspector.stats(QUEUE)
    with pytest.raises(
        MessageTooLargeError, match=r"a message for monitoring_queue has 5\d\d\d bytes, the limit is 4096"
    ):
        send(app, "succeed", "x" * 5000)
    with pytest.raises(MessageTooLargeError, match="the limit is 4096"):
        app.control.broadcast("ping", arguments={"padding": "x" * 5000})
    assert inspector.stats(QUEUE).published == before.published
    send(app, "succeed", "x" * 100)
    assert inspector.stats(QUEUE).published == before.published + 1
    inspector.close()
    app.control.purge()
    app.close()


def test_the_limit_is_16_megabytes() -> None:
    assert create_app(Settings()).conf.broker_transport_options["message_limit"] == 16 * 1024 * 1024


# -- what headers and logs tell ---------------------------------------------------------------------------------------


def test_headers_and_events_do_not_show_arguments(app: Celery) -> None:
    message = app.amqp.as_task_v2("id", "name", (SECRET,), {"key": SECRET}, create_sent_event=True)
    assert SECRET in repr(message.body)
    assert SECRET not in repr((message.headers, message.properties, message.sent_event))
    shown = app.amqp.as_task_v2("id", "name", (SECRET,), {}, argsrepr="(order 7)")
    assert shown.headers["argsrepr"] == "(order 7)"


@pytest.fixture(scope="module")
def talkative(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A worker that logs all it would ever log, accepts pickle, and small messages only."""
    directory = tmp_path_factory.mktemp("talkative")
    values = environment(
        cluster,
        directory,
        FLEET_TASK_MODULES=TASKS,
        FLEET_QUEUES=QUEUE,
        FLEET_CONCURRENCY="1",
        FLEET_LOG_LEVEL="DEBUG",
        FLEET_LOG_FORMAT="json",
        FLEET_ALLOW_PICKLE="true",
        FLEET_MESSAGE_LIMIT="4096",
        # Celery does not accept pickle as root, unless told so.
        C_FORCE_ROOT="1",
    )
    with container("worker", values, directory) as started:
        started.wait_healthy()
        yield started


def test_a_workers_log_shows_no_arguments_whatever_happens(app: Celery, talkative: Container, why: Any) -> None:
    why(send(app, "succeed", SECRET), "SUCCESS")
    why(send(app, "fail", SECRET), "dead in")
    why(send(app, "fail", SECRET, SECRET), "dead in")
    why(send(app, "no_such_task", SECRET), "delayed in")
    refused, broken, invalid, large = (str(uuid4()) for _ in range(4))
    publish(app, f"- {SECRET}".encode(), "application/x-yaml", "utf-8", id=refused, task=f"{TASKS}.succeed")
    publish(app, b"\xff" + SECRET.encode(), "application/json", "utf-8", id=broken, task=f"{TASKS}.succeed")
    publish(app, json.dumps({SECRET: SECRET}).encode(), "application/json", "utf-8", id=invalid)
    send(app, "succeed", SECRET * 1000, task_id=large)
    assert "refused (its serialization" in why(refused, "dead in")
    assert "undecodable (" in why(broken, "dead in")
    assert "not-a-task (" in why(invalid, "dead in")
    assert "oversized (" in why(large, "dead in")
    log = talkative.log.read_text()
    assert SECRET not in log
    assert "raise ValueError(f" in log, "the traceback is there, without its values"
    assert "offered again" in log
    assert "Received unregistered task" not in log


def test_pickle_is_a_warning_when_a_worker_starts(app: Celery, talkative: Container, why: Any) -> None:
    why(send(app, "succeed", 1, serializer="pickle"), "SUCCESS")
    [warning] = [line for line in talkative.log.read_text().splitlines() if '"message": "FLEET_ALLOW_PICKLE' in line]
    assert json.loads(warning)["level"] == "WARNING"
    assert "can run any code" in json.loads(warning)["message"]


@pytest.fixture
def logged() -> Iterator[Callable[[Literal["text", "json"]], io.StringIO]]:
    """Configure logging for one test; returns what is written."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level

    def configured(log_format: Literal["text", "json"]) -> io.StringIO:
        stream = io.StringIO()
        known = Settings(log_format=log_format, redis_password=SecretStr("known/secret"))
        logs.configure(known, stream)
        return stream

    yield configured
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logs_show_no_secrets(logged: Any, log_format: Literal["text", "json"]) -> None:
    stream = logged(log_format)
    log = logging.getLogger("shop.tokens")
    log.info("connecting to %s", "amqp://user:hunter2@host/%2f")
    log.info(
        "in use: known/secret, known%2Fsecret", extra={"settings": {"api_key": "hunter2", "urls": ["x://u:hunter2@h"]}}
    )
    try:
        raise ValueError("refused: password=hunter2")
    except ValueError:
        log.exception("login")
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "known" not in text
    assert "user:**@host" in text
    assert "login" in text
    assert "ValueError: refused: password=**" in text
    if log_format == "json":
        assert json.loads(text.splitlines()[1])["settings"]["api_key"] == "**"
    else:
        assert "shop.tokens: in use: **, **\n" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rediss://:pw@h:1/0, http://h:5555/x", "rediss://:**@h:1/0, http://h:5555/x"),
        ('{"password": "two words", "n": 1}', '{"password": **, "n": 1}'),
        (r'"{\"token\": \"x y\"}"', r'"{\"token\": **}"'),
        ("AWS_SECRET_ACCESS_KEY=a/b+c next", "AWS_SECRET_ACCESS_KEY=** next"),
        ("Authorization: Bearer abcdefghijklmnop.qrs=", "Authorization: Bearer **"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- end", "** end"),
        ("5 tokens, the token is gone", "5 tokens, the token is gone"),
        ("a short word stays", "a short word stays"),
    ],
)
def test_redaction(text: str, shown: str) -> None:
    assert Redaction(["short"]).text(text) == shown


# -- signatures -------------------------------------------------------------------------------------------------------


def write_key(directory: Path, name: str) -> None:
    """A key and its certificate, which nobody trusts yet."""
    directory.mkdir()
    (directory / TRUSTED).mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (directory / KEY).write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (directory / CERTIFICATE).write_bytes(certificate.public_bytes(pem))


def trust(directory: Path, *others: Path) -> None:
    for other in others:
        (directory / TRUSTED / f"{other.name}.pem").write_bytes((other / CERTIFICATE).read_bytes())


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A worker and a shop that trust each other, and a stranger who trusts himself."""
    place = tmp_path_factory.mktemp("signers")
    found = {name: place / name for name in ("worker", "shop", "stranger")}
    for name, directory in found.items():
        write_key(directory, name)
    trust(found["worker"], found["worker"], found["shop"])
    trust(found["shop"], found["worker"], found["shop"])
    trust(found["stranger"], found["stranger"])
    return found


#: Sends a task and waits for it, in a process of its own: a key is the whole process's.
PUBLISHER = f"""
import sys
from service.celery_app import app
result = app.send_task("{TASKS}.succeed", (21,), queue="{SIGNED}", task_id=sys.argv[1])
if sys.argv[2] == "wait":
    print(result.get(timeout=60), len(app.control.ping(timeout=30, limit=1)))
"""


def test_only_what_a_trusted_key_signed_runs(
    app: Celery, cluster: LocalCluster, signers: dict[str, Path], tmp_path: Path, why: Any
) -> None:
    def environ(name: str) -> dict[str, str]:
        signing = {"FLEET_SIGNING_DIRECTORY": str(signers[name])}
        return environment(cluster, tmp_path, FLEET_TASK_MODULES=TASKS, FLEET_QUEUES=SIGNED, **signing)

    def publish_as(name: str, task_id: str, how: str) -> str:
        command = [sys.executable, "-c", PUBLISHER, task_id, how]
        return subprocess.run(command, env=environ(name), capture_output=True, text=True, check=True).stdout

    app.control.purge()
    with container("worker", environ("worker"), tmp_path) as worker:
        worker.wait_healthy()
        assert publish_as("shop", str(uuid4()), "wait") == "42 1\n"
        unsigned, pickled, forged = (str(uuid4()) for _ in range(3))
        send(app, "succeed", 1, queue=SIGNED, task_id=unsigned)
        body = pickle.dumps(((1,), {}, {}))
        publish(app, body, "application/x-python-serialize", "binary", SIGNED, id=pickled, task=f"{TASKS}.succeed")
        publish_as("stranger", forged, "go")
        assert "refused (" in why(unsigned, "dead in")
        assert "refused (" in why(pickled, "dead in")
        assert "undecodable (" in why(forged, "dead in")
    log = worker.log.read_text()
    assert "Unknown certificate" in log
    assert log.count("succeeded") == 1


def test_a_signing_directory_must_be_complete(signers: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=rf"cannot read {re.escape(str(tmp_path / KEY))}"):
        Settings(signing_directory=tmp_path)
    write_key(tmp_path / "new", "new")
    with pytest.raises(ValidationError, match="nobody would be trusted"):
        Settings(signing_directory=tmp_path / "new")
    assert Settings(signing_directory=signers["shop"]).signing_directory == signers["shop"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"FLEET_ALLOW_PICKLE": "true"}, "FLEET_ALLOW_PICKLE: with FLEET_SIGNING_DIRECTORY only signed messages"),
        ({}, "FLEET_SIGNING_DIRECTORY: Invalid certificate"),
    ],
)
def test_a_wrong_key_is_a_sentence(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    directory = tmp_path / "broken"
    write_key(directory, "broken")
    (directory / CERTIFICATE).write_text("no certificate")
    (directory / TRUSTED / "any.pem").write_text("no certificate")
    done = subprocess.run(
        [sys.executable, "-c", "import service.celery_app"],
        env=os.environ | {"FLEET_SIGNING_DIRECTORY": str(directory)} | variables,
        capture_output=True,
        text=True,
    )
    assert said in done.stderr.splitlines()[-1]
