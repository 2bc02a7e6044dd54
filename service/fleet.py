"""What the infrastructure and the service must agree on, and nothing else.

Plain constants: importing this module imports neither Celery nor Pulumi, so both sides can use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Environment = Literal["staging", "prod"]
Pool = Literal["prefork", "gevent", "eventlet", "threads", "solo"]

#: Priorities go from 0 to 10; 10 is served first (RabbitMQ's direction).
MAX_PRIORITY: Final = 10
#: Into so many parts a queue can be split; the transport's own limit.
MAX_PARTITIONS: Final = 64

#: Which of a worker's limits each pool keeps; Celery drops the others without a word. gevent breaks a task off only
#: where it waits.
KEPT_LIMITS: Final[dict[Pool, frozenset[str]]] = {
    "prefork": frozenset({"soft_time_limit", "time_limit", "max_tasks_per_child"}),
    "gevent": frozenset({"time_limit"}),
    "eventlet": frozenset(),
    "threads": frozenset(),
    "solo": frozenset(),
}


@dataclass(frozen=True)
class Queue:
    """A queue of the fleet and how its workers run.

    Attributes:
        name: The queue's name in Celery.
        priority: Default priority of its messages, 0-10, 10 first.
        pool: Celery's worker pool.
        concurrency: Concurrent tasks per worker in prod; staging runs half.
        work: What belongs into the queue, for people.
        autoscale_min: If set, the pool shrinks to this many processes when idle (prefork only).
        partitions: Into how many parts the queue is split.
    """

    name: str
    priority: int
    pool: Pool = "prefork"
    concurrency: int = 4
    work: str = ""
    autoscale_min: int | None = None
    partitions: int = 1


#: The queues that every stack has unless its file says otherwise.
#: In order of priority: the order in which a worker of several queues looks at them.
QUEUES: Final = (
    Queue("high_priority_queue", 10, "prefork", 4, "urgent and short"),
    Queue("sync_queue", 7, "gevent", 16, "I/O-bound synchronisation"),
    Queue("workflow_queue", 6, "prefork", 4, "canvas: chains, groups, chords"),
    Queue("data_queue", 5, "prefork", 2, "CPU-bound processing"),
    Queue("monitoring_queue", 3, "prefork", 4, "probes and statistics"),
    Queue("celery", 1, "prefork", 4, "default, mixed", autoscale_min=2),
)

DEFAULT_QUEUE: Final = "celery"
#: Letters that a person must look at; its handler stands beside the six queues.
DEAD_LETTER_QUEUE: Final = Queue("dead_letter", 0, "prefork", 2, "dead letters")
ALL_QUEUES: Final = (*QUEUES, DEAD_LETTER_QUEUE)
QUEUE_NAMES: Final = tuple(queue.name for queue in ALL_QUEUES)


def queue_table(queues: Iterable[Queue]) -> str:
    """Return what every process must know of the stack's queues, as JSON: the value of FLEET_QUEUE_TABLE.

    Publishers route by it, and whoever reads or writes a queue must agree on its parts.
    """
    return json.dumps({queue.name: {"priority": queue.priority, "partitions": queue.partitions} for queue in queues})


REDIS_PORT: Final = 6379
#: Where Flower listens in its container, on which path, and who logs in.
FLOWER_PORT: Final = 5555
FLOWER_PREFIX: Final = "flower"
FLOWER_USER: Final = "fleet"

#: Every key of the broker and of the results starts with one of these: a cluster has database 0 only.
BROKER_PREFIX: Final = "broker:"
RESULT_PREFIX: Final = "result:"

#: The commands that the workers use, nothing administrative, and nothing that ElastiCache forbids.
#: Commands are added one by one so that a new need shows up as a NOPERM in the tests.
_COMMANDS: Final = (
    "-@all +@connection +@read +@write -@dangerous -function +eval +evalsha +script|load "
    "+publish +spublish +subscribe +ssubscribe +unsubscribe +sunsubscribe +psubscribe +punsubscribe "
    "+multi +exec +discard +watch +unwatch +wait +info "
    "+cluster|shards +cluster|slots +cluster|nodes +cluster|info +cluster|keyslot +cluster|myid "
    "+readonly +readwrite +time"
)
#: What the workers' Redis user may do: their keys and channels, the commands they use.
REDIS_ACCESS_STRING: Final = f"on ~{BROKER_PREFIX}* ~{RESULT_PREFIX}* resetchannels &{RESULT_PREFIX}* {_COMMANDS}"
#: The same where the results have a cluster of their own: in the broker's, and in that of the results.
BROKER_ACCESS_STRING: Final = f"on ~{BROKER_PREFIX}* resetchannels {_COMMANDS}"
RESULT_ACCESS_STRING: Final = f"on ~{RESULT_PREFIX}* resetchannels &{RESULT_PREFIX}* {_COMMANDS}"

#: CloudWatch custom metrics, dimensions Stack and Queue, published by the monitor service alone.
METRIC_NAMESPACE: Final = "CeleryFleet"
#: Messages that could run now: ready over all priorities plus delayed ones that are due.
METRIC_DEPTH: Final = "QueueDepth"
#: Messages that wait for their time.
METRIC_DELAYED: Final = "QueueDelayed"
#: Messages that a worker holds.
METRIC_LEASED: Final = "QueueLeased"
#: Messages on the queue's dead list that the `dead_letter` service has not stored yet.
METRIC_DEAD: Final = "QueueDead"
#: Dead letters in the store that nobody has replayed or discarded yet; published by the `dead_letter` service.
METRIC_LETTERS: Final = "QueueLetters"
#: Age in seconds of the message that has been ready the longest.
METRIC_OLDEST_AGE: Final = "OldestMessageAge"
#: Messages that came back since the last publication because their holder had stopped renewing its lease.
METRIC_RECOVERED: Final = "QueueRecovered"
#: Messages whose work was done since the last publication, and messages that failed for good: those moved to the dead
#: list. A task that is retried is done; its retry is a message of its own.
METRIC_DONE: Final = "QueueDone"
METRIC_FAILED: Final = "QueueFailed"
#: Seconds since a beat last said that it leads; dimension Stack alone, as the next.
METRIC_BEAT_AGE: Final = "BeatAge"
#: Seconds by which the latest tick of a periodic task is late.
METRIC_SCHEDULE_LATE: Final = "ScheduleLate"
#: All of them, by what they are about.
QUEUE_METRICS: Final = (
    *(METRIC_DEPTH, METRIC_DELAYED, METRIC_LEASED, METRIC_DEAD, METRIC_LETTERS),
    *(METRIC_OLDEST_AGE, METRIC_RECOVERED, METRIC_DONE, METRIC_FAILED),
)
BEAT_METRICS: Final = (METRIC_BEAT_AGE, METRIC_SCHEDULE_LATE)
DIMENSION_STACK: Final = "Stack"
DIMENSION_QUEUE: Final = "Queue"
#: Seconds between two publications.
METRIC_PERIOD: Final = 10

#: Dead letters in DynamoDB: the table's key; the index of those that nobody has handled, named like its key, the queue;
#: its second key, the time of death; what a list shows of a letter besides; when DynamoDB removes it.
LETTERS_KEY: Final = "id"
LETTERS_INDEX: Final = "unhandled"
LETTERS_ORDER: Final = "died"
LETTERS_SHOWN: Final = (
    *("queue", "task", "task_id", "reason", "exception"),
    *("state", "handled_at", "handled_by", "target"),
)
LETTERS_EXPIRY: Final = "expires"
#: Where in the bucket the messages are that are too large for the table.
LETTERS_FOLDER: Final = "letters"
