"""What the benchmark relies on when it measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import footprint
from bench.commands import Count
from bench.footprint import memory
from bench.groups import GROUPS, UnknownGroupError, select
from bench.kept import Channel
from bench.pinning import shares
from bench.raw import steady
from bench.rows import OPTION_ROWS, ROWS
from bench.sides import Sides, kept_url
from scripts.localcluster.single import single_redis


def test_only_client_commands_count() -> None:
    count = Count()
    count.add(
        [
            '1795455030.745336 [0 127.0.0.1:59876] "EVALSHA" "ed3a" "7" "broker:{q}:ready"',
            '1795455030.746817 [0 lua] "EXISTS" "broker:{q}:ready"',
            '1795455030.749297 [0 127.0.0.1:7001] "ZADD" "broker:{q}:lanes" "1" "x"',
            '1795455030.749340 [0 127.0.0.1:59877] "blpop" "broker:{q}:wake" "10"',
            '1795455030.749350 [0 127.0.0.1:59877] "EVALSHA" "8b03" "1" "broker:{celeryev}:fanout" "say \\"x\\"\\n"',
            "OK",
        ],
        servers=frozenset({7001}),
    )
    assert count.names == {"EVALSHA": 2, "BLPOP": 1}
    assert count.heartbeats == 1
    assert count.rest == 2


def test_every_row_is_measured_by_one_group() -> None:
    measured = [row for group in GROUPS for row in group.rows]
    assert sorted(measured) == sorted(row.key for row in (*ROWS, *OPTION_ROWS))


def test_groups_are_chosen_by_their_name_or_a_row() -> None:
    assert [group.name for group in select({"latency-p50", "publish"})] == ["publish", "tasks"]
    assert select(()) == list(GROUPS)
    with pytest.raises(UnknownGroupError, match=r"no measure speed; known: .*publish"):
        select({"speed"})


def test_servers_and_clients_share_no_core_if_there_are_two() -> None:
    assert shares([0, 1]) == (0, 1)
    assert shares([3]) == (3, 3)


def test_a_changed_machine_is_noticed() -> None:
    assert steady(100, 120)
    assert not steady(100, 130)
    assert not steady(130, 100)


def test_the_kept_client_is_for_stock_only() -> None:
    assert kept_url("redis://127.0.0.1:1/0") == "keptredis://127.0.0.1:1/0"
    assert kept_url("keptredis://127.0.0.1:1/0") == "keptredis://127.0.0.1:1/0"
    assert kept_url("rediscluster://u:p@127.0.0.1:1") == "rediscluster://u:p@127.0.0.1:1"
    assert kept_url("redisclusters://u:p@127.0.0.1:1") == "redisclusters://u:p@127.0.0.1:1"


@pytest.mark.parametrize("side", ["stock", "kept", "ours"])
def test_what_is_stored_is_measured_on_every_side(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUEUED", "QUEUED_LARGE", "RESULTS"):
        monkeypatch.setattr(footprint, name, 200)
    with Sides() as sides:
        measured = memory(sides[side])
    assert all(taken > 100 for (taken,) in measured.values()), measured


def test_a_channel_keeps_its_client_until_it_has_another_pool() -> None:
    from kombu import Connection

    with single_redis() as address, Connection(kept_url(f"redis://{address}/0")) as connection:
        channel = connection.default_channel
        assert isinstance(channel, Channel)
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        getattr(channel, "_disconnect_pools")()  # noqa: B009 - untyped
        with channel.conn_or_acquire() as third:
            assert third is not first
            assert third.ping()


def test_the_page_has_a_place_for_the_figures() -> None:
    from bench.document import PAGE, PageError, filled

    assert "new figures" in filled(PAGE.read_text(), "new figures")
    with pytest.raises(PageError):
        filled("a page", "new figures")
    assert Path(PAGE).name == "benchmarks.md"
