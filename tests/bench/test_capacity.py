"""What a stack's broker carries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.results import Results, ResultsError
from scripts.capacity.facts import MAXMEMORY, UnknownNodeTypeError
from scripts.capacity.figures import figures
from scripts.capacity.plan import Figures, capacity, rolling_tasks, worker_connections
from scripts.capacity.report import lines
from scripts.capacity.stack import Broker, Stack, Workers, read
from tests.infra.renders import Renders

BROKER = Broker("cache.m7g.large", shards=3, replicas=1, tls=True, cpu_alarm=0.8, memory_alarm=0.75)
WORKERS = Workers("data_queue", most=12, processes=2, rolling=134)
STACK = Stack("prod", BROKER, (WORKERS, replace(WORKERS, queue="sync_queue", processes=16)), expires=604_800)
FIGURES = Figures(
    cpu=100e-6, cpu_result=60e-6, message=1000, message_1k=3000, result=500, connections=14, connections_process=3
)


def test_messages_per_second_follow_from_processor_time_and_the_alarm() -> None:
    found = capacity(STACK, FIGURES)
    assert found.messages == pytest.approx(8000)
    assert found.messages_results == pytest.approx(5000)


def test_a_burstable_node_has_only_its_baseline() -> None:
    small = replace(STACK, broker=replace(BROKER, node_type="cache.t4g.small"))
    assert capacity(small, FIGURES).messages == pytest.approx(4000)


def test_backlog_and_results_fill_what_is_not_reserved() -> None:
    found = capacity(STACK, FIGURES)
    data = MAXMEMORY["cache.m7g.large"] * 0.75
    assert found.backlog == pytest.approx(data / 1000)
    assert found.backlog_1k == pytest.approx(data / 3000)
    assert found.alarm == pytest.approx(data / 1000 * 0.75)
    assert found.results == pytest.approx(3 * data / 500)
    assert found.results_rate == pytest.approx(found.results / 604_800)


def test_connections_grow_with_processes_and_shards() -> None:
    assert worker_connections(WORKERS, BROKER, FIGURES) == 14
    assert worker_connections(replace(WORKERS, processes=4), BROKER, FIGURES) == 20
    assert worker_connections(WORKERS, replace(BROKER, shards=6), FIGURES) == 20
    assert capacity(STACK, FIGURES).connections == 12 * 14 + 12 * 56


def test_a_rollout_runs_more_of_them() -> None:
    assert rolling_tasks(WORKERS) == 16
    assert rolling_tasks(replace(WORKERS, most=3)) == 4
    assert capacity(STACK, FIGURES).connections_rolling == 16 * 14 + 16 * 56


def test_an_unknown_node_type_is_named() -> None:
    odd = replace(STACK, broker=replace(BROKER, node_type="cache.z9.huge"))
    with pytest.raises(UnknownNodeTypeError, match=r"cache\.z9\.huge is not known: add it to scripts\.capacity\.facts"):
        capacity(odd, FIGURES)


def measured() -> Results:
    results = Results("2026-01-01", "abc", {"processor": "Some CPU"}, 1)
    for row in ("bytes", "bytes-1k", "bytes-result", "connections", "connections-process"):
        results.add(row, "ours", [3.0, 1.0, 2.0])
    for row in ("cpu", "cpu-result"):
        results.add(row, "ours", [100.0])
        results.add(row, "tls", [150.0])
    return results


def test_figures_are_medians_and_tls_has_its_own() -> None:
    assert figures(measured(), tls=False).message == 2
    assert figures(measured(), tls=False).cpu == pytest.approx(100e-6)
    assert figures(measured(), tls=True).cpu == pytest.approx(150e-6)


def test_a_missing_figure_is_named() -> None:
    results = measured()
    del results.figures["bytes"]
    with pytest.raises(ResultsError, match=r"no figure for bytes \(ours\): run `make bench`"):
        figures(results, tls=False)


def test_the_report_names_its_assumptions() -> None:
    text = "\n".join(lines(STACK, FIGURES, capacity(STACK, FIGURES), measured()))
    assert "3 shards x (1 primary, replicas: 1) of cache.m7g.large with TLS" in text
    assert "messages per second, publish to ack" in text
    assert "8,000" in text
    assert "24,000" in text
    assert "840 of 65,000" in text
    assert "Figures of 2026-01-01, commit abc, on Some CPU." in text


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_the_real_stacks_can_be_read(name: str, renders: Renders) -> None:
    stack = read(renders.named(name))
    assert stack.broker.node_type in MAXMEMORY
    assert stack.broker.shards == 3
    assert stack.broker.tls
    assert stack.broker.cpu_alarm == pytest.approx(0.8)
    assert len(stack.workers) == 7
    assert {workers.most for workers in stack.workers} >= {12 if name == "prod" else 8}
    assert stack.expires == (604_800 if name == "prod" else 86_400)


def test_results_of_their_own_leave_the_broker_alone() -> None:
    small = Broker("cache.m7g.large", shards=1, replicas=1, tls=True, cpu_alarm=0.8, memory_alarm=0.75)
    found = capacity(replace(STACK, own=small), FIGURES)
    assert found.messages == pytest.approx(8000)
    # One shard of results at 0.8 / 60 µs serves three of the broker.
    assert found.messages_results == pytest.approx(0.8 / 60e-6 / 3)
    assert found.results == pytest.approx(MAXMEMORY["cache.m7g.large"] * 0.75 / 500)
    large = replace(small, shards=6)
    assert capacity(replace(STACK, own=large), FIGURES).messages_results == pytest.approx(8000)


@pytest.mark.slow
def test_both_clusters_are_read_off_the_render(renders: Renders) -> None:
    redis = {"memoryAlarm": 60, "results": {"shards": 2, "nodeType": "cache.t4g.medium", "memoryAlarm": 90}}
    stack = read(renders.of("staging", {"redis": redis}))
    assert (stack.broker.shards, stack.broker.memory_alarm) == (3, 0.6)
    assert stack.own is not None
    assert (stack.own.shards, stack.own.node_type, stack.own.memory_alarm) == (2, "cache.t4g.medium", 0.9)
    assert stack.own.cpu_alarm == stack.broker.cpu_alarm
