"""The judgement on a worker: pure functions of what was noted and of the time."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Seconds after which a pool without a living process is no accident any more: lost ones are replaced at once.
POOL_PATIENCE = 15.0


@dataclass
class Signs:
    """What the worker's own threads note; times are of the monotonic clock.

    Plain attributes, each written by one thread: whoever reads them needs no lock, which under eventlet a native
    thread could not take.

    Attributes:
        patience: Seconds for which the worker may stand still.
        task_limit: Seconds that a task may take (the hard limit).
        tasks_in_loop: Whether tasks run in the thread of the main loop, so that a busy one stops it.
        turned_at: When the main loop last turned.
        lost_at: Since when the worker has no connection to the broker; None while it consumes.
        pool_dead_at: Since when the pool has nobody who could run a task.
        threads_gone: What the threads did that have ended although the worker needs them.
        stopping: Whether the worker was told to end.
    """

    patience: float
    task_limit: float
    tasks_in_loop: bool
    turned_at: float
    lost_at: float | None = None
    pool_dead_at: float | None = None
    threads_gone: tuple[str, ...] = ()
    stopping: bool = False


@dataclass(frozen=True)
class LeaseSigns:
    """How the threads are that renew this process's leases, and the shards it talks to.

    Attributes:
        dead: Whether messages are held and no thread renews them.
        overdue: Seconds by which a renewal is late that should have been tried, whatever its outcome.
        lease: Seconds of a lease.
        failing: Seconds for which renewals have been tried and failed.
        silent: Seconds since the broker last answered a worker that has reason to ask.
        shards_down: Shards that do not serve this process now.
    """

    dead: bool = False
    overdue: float = 0.0
    lease: float = 60.0
    failing: float = 0.0
    silent: float = 0.0
    shards_down: int = 0


@dataclass(frozen=True)
class Verdict:
    """How a worker is.

    Attributes:
        broken: Why it should be replaced.
        waiting: Why it takes no work at the moment, although it may again.
    """

    broken: tuple[str, ...] = field(default=())
    waiting: tuple[str, ...] = field(default=())

    @property
    def alive(self) -> bool:
        """Whether it can go on."""
        return not self.broken

    @property
    def ready(self) -> bool:
        """Whether it takes work now."""
        return not self.broken and not self.waiting

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that is wrong."""
        return self.broken + self.waiting


def judge(signs: Signs, leases: LeaseSigns, active: int, now: float) -> Verdict:
    """Judge a worker.

    Args:
        signs: What it noted.
        leases: What is known of the transport.
        active: Tasks that run now.
        now: The monotonic clock.
    """
    if signs.stopping:
        # Its running tasks have their grace; nobody must replace it earlier.
        return Verdict(waiting=("it is shutting down",))
    parts = (
        _connection(signs, leases, now),
        _loop(signs, active, now),
        _since(signs.pool_dead_at, now, POOL_PATIENCE, "no process or thread of the pool is alive"),
        _leases(signs, leases),
        Verdict(tuple(f"the thread that {does} is gone" for does in signs.threads_gone)),
    )
    return Verdict(
        tuple(reason for part in parts for reason in part.broken),
        tuple(reason for part in parts for reason in part.waiting),
    )


def _connection(signs: Signs, leases: LeaseSigns, now: float) -> Verdict:
    if leases.silent > signs.patience:
        return Verdict(broken=(f"no answer from the broker for {leases.silent:.0f} s",))
    return _since(signs.lost_at, now, signs.patience, "no connection to the broker")


def _loop(signs: Signs, active: int, now: float) -> Verdict:
    silent = now - signs.turned_at
    limit = signs.patience
    if signs.tasks_in_loop and active:
        # Busy, and not stuck; but nobody else enforces the hard limit on such a pool.
        limit += signs.task_limit
    # While it reconnects the loop stands still, and the connection is what is wrong.
    if signs.lost_at is None and silent > limit:
        return Verdict(broken=(f"the main loop has not turned for {silent:.0f} s",))
    return Verdict()


def _leases(signs: Signs, leases: LeaseSigns) -> Verdict:
    if leases.dead:
        return Verdict(broken=("the lease thread is gone: what this worker holds goes to others",))
    if leases.overdue > leases.lease:
        return Verdict(broken=(f"the lease thread stands still: a renewal is late by {leases.overdue:.0f} s",))
    failing = _for(leases.failing, signs.patience, "leases cannot be renewed")
    if leases.shards_down:
        down = f"{leases.shards_down} shards of the cluster do not serve this worker"
        return Verdict(failing.broken, (*failing.waiting, down))
    return failing


def _since(moment: float | None, now: float, patience: float, sentence: str) -> Verdict:
    return Verdict() if moment is None else _for(now - moment, patience, sentence)


def _for(seconds: float, patience: float, sentence: str) -> Verdict:
    if seconds <= 0:
        return Verdict()
    said = (f"{sentence} for {seconds:.0f} s",)
    return Verdict(broken=said) if seconds > patience else Verdict(waiting=said)
