"""What a broker carries: arithmetic on measured figures and the stack's sizes."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.capacity.facts import RESERVED, core_share, maxmemory
from scripts.capacity.stack import Broker, Stack, Workers

#: Primaries of the cluster on which connections were measured: a pool process has one to each, for its results.
MEASURED_PRIMARIES = 3


@dataclass(frozen=True)
class Figures:
    """What the benchmark measured.

    Attributes:
        cpu: Seconds of a primary's processor for a message from publish to ack.
        cpu_result: The same for storing a result.
        message: Bytes of a queued Celery message without arguments.
        message_1k: The same with 1 kB of arguments.
        result: Bytes of a stored result.
        connections: Of a worker with two pool processes.
        connections_process: Of one more pool process.
    """

    cpu: float
    cpu_result: float
    message: float
    message_1k: float
    result: float
    connections: float
    connections_process: float


@dataclass(frozen=True)
class Capacity:
    """What the broker carries.

    Attributes:
        messages: Per second through one shard, at the CPU alarm's threshold.
        messages_results: The same if each stores a result, in any shard.
        memory: Bytes for data in one shard.
        backlog: Messages without arguments in one shard until publishing stops.
        backlog_1k: The same with 1 kB of arguments.
        alarm: Messages without arguments in one shard when the memory alarm fires.
        results: Results in all shards of where they are kept, if nothing else is there.
        results_rate: Results per second for ever, as they expire.
        connections: Of all workers at full scale-out, on one node at most.
        connections_rolling: While a new version is rolled out.
    """

    messages: float
    messages_results: float
    memory: float
    backlog: float
    backlog_1k: float
    alarm: float
    results: float
    results_rate: float
    connections: int
    connections_rolling: int


def capacity(stack: Stack, figures: Figures) -> Capacity:
    """Put it together.

    Raises:
        UnknownNodeTypeError: See `facts`.
    """
    broker = stack.broker
    memory = data_memory(broker)
    kept = data_memory(stack.results) * stack.results.shards / figures.result
    return Capacity(
        messages=processor(broker) / figures.cpu,
        messages_results=messages_with_results(stack, figures),
        memory=memory,
        backlog=memory / figures.message,
        backlog_1k=memory / figures.message_1k,
        alarm=memory * broker.memory_alarm / figures.message,
        results=kept,
        results_rate=kept / stack.expires,
        connections=sum(
            workers.most * worker_connections(workers, stack.results, figures) for workers in stack.workers
        ),
        connections_rolling=sum(
            rolling_tasks(workers) * worker_connections(workers, stack.results, figures) for workers in stack.workers
        ),
    )


def data_memory(broker: Broker) -> float:
    """Bytes of one shard that data can have."""
    return maxmemory(broker.node_type) * (1 - RESERVED)


def processor(broker: Broker) -> float:
    """Share of a core that the engine of one shard can have for ever without an alarm."""
    return min(broker.cpu_alarm, core_share(broker.node_type))


def messages_with_results(stack: Stack, figures: Figures) -> float:
    """Messages per second through one shard of the broker, if each stores a result."""
    broker, own = stack.broker, stack.own
    if own is None:
        return processor(broker) / (figures.cpu + figures.cpu_result)
    # Whichever of the two clusters is busy first.
    return min(processor(broker) / figures.cpu, processor(own) * own.shards / figures.cpu_result / broker.shards)


def worker_connections(workers: Workers, results: Broker, figures: Figures) -> int:
    """Connections of one worker to all nodes together; those of its pool processes go where the results are."""
    own = figures.connections - 2 * figures.connections_process
    return round(own + workers.processes * figures.connections_process * results.shards / MEASURED_PRIMARIES)


def rolling_tasks(workers: Workers) -> int:
    """ECS tasks that may run at once during a deployment at full scale-out; ECS rounds down."""
    return workers.most * workers.rolling // 100
