"""The answer for people."""

from __future__ import annotations

from collections.abc import Iterator

from bench.results import Results
from infra.plan.elasticache import max_clients
from scripts.capacity.facts import BASELINE, RESERVED
from scripts.capacity.plan import Capacity, Figures, data_memory
from scripts.capacity.stack import Stack

_DAY = 24 * 60 * 60


def lines(stack: Stack, figures: Figures, found: Capacity, results: Results) -> Iterator[str]:
    """A table, and what it assumes."""
    broker, shards = stack.broker, stack.broker.shards
    yield (
        f"{stack.name}: {shards} shards x (1 primary, replicas: {broker.replicas}) of {broker.node_type}"
        f"{' with TLS' if broker.tls else ''}, {found.memory / 2**30:.1f} GiB for data in each"
    )
    if stack.own is not None:
        own = stack.own
        yield (
            f"results: {own.shards} shards x (1 primary, replicas: {own.replicas}) of {own.node_type}, "
            f"{data_memory(own) / 2**30:.1f} GiB for data in each"
        )
    yield ""
    yield _row("", "one shard", "all shards")
    yield _row("messages per second, publish to ack", _count(found.messages), _count(found.messages * shards))
    yield _row("  each with a result", _count(found.messages_results), _count(found.messages_results * shards))
    yield _row("backlog until publishing stops, messages", _count(found.backlog), _count(found.backlog * shards))
    yield _row("  with 1 kB of arguments", _count(found.backlog_1k), _count(found.backlog_1k * shards))
    yield _row(
        f"  memory alarm ({broker.memory_alarm:.0%}) fires at", _count(found.alarm), _count(found.alarm * shards)
    )
    yield _row("results kept, if nothing else is", _count(found.results / stack.results.shards), _count(found.results))
    yield _row(
        f"  results per second, kept for {stack.expires / _DAY:g} days",
        _count(found.results_rate / stack.results.shards),
        _count(found.results_rate),
    )
    accepted = max_clients(broker.node_type)
    yield _row("connections at full scale-out, on one node", f"{found.connections:,} of {accepted:,}", "")
    yield _row("  while a new version is rolled out", f"{found.connections_rolling:,} of {accepted:,}", "")
    yield ""
    yield "Assumed:"
    yield from (f"- {sentence}" for sentence in _assumptions(stack, figures, results))


def _assumptions(stack: Stack, figures: Figures, results: Results) -> Iterator[str]:
    broker = stack.broker
    yield f"Figures of {results.date}, commit {results.commit}, on {results.machine.get('processor', 'unknown')}."
    yield (
        f"A message (prefetch 1, 1 kB) costs a primary {figures.cpu * 1e6:.0f} µs, a result "
        f"{figures.cpu_result * 1e6:.0f} µs; a core of {broker.node_type} is as fast as one there. "
        "EngineCPUUtilization tells."
    )
    if broker.node_type in BASELINE:
        yield f"It is burstable: for ever it has {BASELINE[broker.node_type]:.0%} of a core."
    else:
        yield f"Its engine thread may be busy for {broker.cpu_alarm:.0%} of the time, the CPU alarm's threshold."
    yield "A queue lies in one shard unless it is split; all shards means that queues or parts are spread evenly."
    yield (
        f"A message takes {figures.message:.0f} bytes, {figures.message_1k:.0f} with 1 kB of arguments, a small result "
        f"{figures.result:.0f}."
        + (" Backlog and results share the memory; each line has it alone." if stack.own is None else "")
    )
    yield f"{RESERVED:.0%} of a node's maxmemory are reserved, ElastiCache's default."
    yield (
        f"A worker with two processes has {figures.connections:.0f} connections, each more process "
        f"{figures.connections_process:.1f} with three shards. All are counted on one node, the worst case; a gevent "
        "worker counts as many processes as it runs tasks. Publishers and the monitor come on top."
    )


def _row(title: str, one: str, every: str) -> str:
    return f"{title:<46}{one:>20}{every:>16}".rstrip()


def _count(number: float) -> str:
    """Two digits that count: more would pretend too much."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.1f}"
