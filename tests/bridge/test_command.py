"""The command line: what it refuses, what it says, how it ends."""

from __future__ import annotations

import re

import pytest
import redis

from scripts.localcluster import LocalCluster
from service.bridge.__main__ import main
from service.bridge.arguments import old_url_of, parser
from tests.bridge.kit import Fetched, Sides, fill, numbers_of

SIDES = ["--from", "redis://127.0.0.1:1/0", "--to", "rediscluster://127.0.0.1:1"]


@pytest.fixture(autouse=True)
def no_outer_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own URLs are not the tests'."""
    for name in ("BRIDGE_FROM", "BRIDGE_TO"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--from: give the old broker's URL, redis://host:port/0, here or in BRIDGE_FROM"),
        (["--from", "amqp://me:secret@h//"], "--from amqp://me:**@h//: expected redis:// or rediss://"),
        (["--from", "redis://h/shop"], "--from redis://h/shop: expected the number of a database"),
        ([*SIDES, "--queue", "a"], "--queue a: expected OLD=NEW"),
        ([*SIDES, "--queue", "a=celery", "--leave", "a"], "--queue a=…: --leave says that it stays"),
        ([*SIDES, "--priority", "1=2"], "--priority 1=2: 1 is not among the steps 0,3,6,9"),
        ([*SIDES, "--priority", "0=11"], "--priority 0=11: expected a priority from 0 to 10"),
        ([*SIDES, "--sep", ""], "--sep: expected"),
        ([*SIDES, "--priority-steps", "3,0"], "--priority-steps 3,0: expected rising numbers from 0 to 9"),
        ([*SIDES, "--to", "redis://h"], "--to: URL scheme 'redis': expected rediscluster://"),
        ([*SIDES, "--to-option", "lese=3"], "--to: unknown transport option 'lese'"),
        (["--from", "redis://h", "--to-option", "lease=3"], "--to-option: it goes with --to or BRIDGE_TO"),
    ],
)
def test_wrong_arguments_are_refused_with_what_would_be_right(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drain", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--priority-steps", "--batch", "--visibility-timeout", "--replicas", "--interval"])
def test_what_should_be_a_number_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["drain", *SIDES, option, "x"])
    assert f"argument {option}: 'x': expected" in capsys.readouterr().err


def test_an_unknown_target_queue_is_refused(sides: Sides, capsys: pytest.CaptureFixture[str]) -> None:
    fill(sides.old, range(1), queue="reports")
    assert main(["drain", *sides.arguments, "--queue", "reports=nowhere"]) == 2
    assert "--queue reports=nowhere: the fleet has no queue nowhere; its queues are high_" in capsys.readouterr().err
    assert sides.raw.llen("reports") == 1


def test_status_changes_nothing_and_tells_everything(sides: Sides, capsys: pytest.CaptureFixture[str]) -> None:
    fill(sides.old, range(5), priority=3)
    Fetched(sides.old, 2).die()
    fill(sides.old, range(3), queue="reports")
    before = sides.everything()
    assert main(["status", *sides.arguments]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said[1:3]] == [
        ["celery", "celery", "0", "3", "0", "0", "2"],
        ["reports", "none", "3", "0", "0", "0", "0"],
    ]
    assert any("celery: 2 held by workers, 0 of them long enough" in line for line in said)
    assert any("refused: queue 'reports': 3 messages" in line for line in said)
    assert sides.everything() == before


def test_drain_says_what_was_moved_and_what_is_left(sides: Sides, capsys: pytest.CaptureFixture[str]) -> None:
    fill(sides.old, range(5))
    Fetched(sides.old, 2).die()
    sides.raw.lpush("celery", "rubbish")
    assert main(["drain", *sides.arguments]) == 1
    said = capsys.readouterr().out
    assert "moved celery to celery: 3 messages (step 0: 3)" in said
    assert "left in celery: 2 messages, 2 of them held by workers" in said
    assert "put aside in bridge:unreadable: 1 message that nobody can read" in said
    assert main(["drain", *sides.arguments, "--workers-stopped"]) == 0
    assert "2 of them a worker had held" in capsys.readouterr().out
    assert main(["status", *sides.arguments]) == 0
    assert numbers_of(sides.arrived()) == [2, 3, 4, 0, 1]


def test_too_few_replicas_interrupt_and_lose_nothing(sides: Sides, capsys: pytest.CaptureFixture[str]) -> None:
    fill(sides.old, range(5))
    assert main(["drain", *sides.arguments, "--replicas", "2", "--to-option", "retry_deadline=0.1"]) == 3
    said = capsys.readouterr().err
    assert "interrupted, nothing is lost: run it again." in said
    assert re.search("[01] of 2 replicas confirmed", said)
    assert main(["status", *sides.arguments]) == 1
    assert "taken by a bridge that did not finish: 5 messages" in capsys.readouterr().out
    assert main(["drain", *sides.arguments]) == 0
    assert numbers_of(sides.arrived()) == list(range(5))


def test_a_full_old_redis_interrupts_and_loses_nothing(sides: Sides, capsys: pytest.CaptureFixture[str]) -> None:
    fill(sides.old, range(5))
    with sides.bridge() as mover:
        mover.begin()
    sides.raw.config_set("maxmemory", 1)
    assert main(["drain", *sides.arguments]) == 3
    assert "Give that Redis more maxmemory" in capsys.readouterr().err
    assert sides.raw.llen("celery") == 5
    sides.raw.config_set("maxmemory", 0)
    assert main(["drain", *sides.arguments]) == 0
    assert numbers_of(sides.arrived()) == list(range(5))


def test_a_cluster_with_tls_is_named_by_url_and_options(sides: Sides, tls_cluster: LocalCluster) -> None:
    fill(sides.old, range(5))
    options = [f"key_prefix={sides.prefix}", f"ssl_ca_certs={tls_cluster.ca_file}"]
    arguments = [part for option in options for part in ("--to-option", option)]
    assert main(["drain", "--from", sides.old, "--to", tls_cluster.url, *arguments]) == 0
    assert sides.raw.llen("celery") == 0


def test_the_way_celery_writes_certificate_options_is_understood() -> None:
    args = parser().parse_args(
        ["status", "--from", "rediss://u:p%40@h:1/2?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/ca"]
    )
    arguments = redis.Redis.from_url(old_url_of(args)).connection_pool.connection_kwargs
    wanted = {"db": 2, "password": "p@", "ssl_cert_reqs": "required", "ssl_ca_certs": "/ca"}
    assert {name: arguments[name] for name in wanted} == wanted
