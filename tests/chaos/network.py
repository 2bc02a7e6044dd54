"""A network of the run's own, in which packets can be dropped or led astray without harm to the machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

#: Set in the process that runs in a network namespace of its own.
PRIVATE = "CHAOS_PRIVATE_NETWORK"
#: The group of the producers; the worker at place n has the n-th after it. Rules know clients by their group.
PRODUCERS = 61_000
HOST = "127.0.0.1"

Rule = tuple[str, ...]


class NetworkError(Exception):
    """The machine does not allow it."""


class Network:
    """The rules of this network namespace."""

    def __init__(self, workers: int) -> None:
        """Prepare the rules for the producers and so many places of workers.

        Raises:
            NetworkError: There is a tool or a permission missing.
        """
        self.groups = [PRODUCERS + number for number in range(workers + 1)]
        _run("ip", "link", "set", "lo", "up")
        for group in self.groups:
            # Answers belong to the node's process, so a connection is marked with its client's group.
            mark = ("-m", "owner", "--gid-owner", str(group), "-p", "tcp", "-j", "CONNMARK", "--set-mark", str(group))
            _run(*_IPTABLES, "-t", "mangle", "-A", "OUTPUT", *mark)

    @staticmethod
    def worker_group(place: int) -> int:
        """The group of a worker and its pool."""
        return PRODUCERS + 1 + place

    @contextmanager
    def cut(self, groups: Iterable[int], port: int) -> Iterator[None]:
        """Drop every packet between clients and a node, in both directions."""
        rules: list[Rule] = [
            ("filter", "OUTPUT", "-p", "tcp", "-m", "connmark", "--mark", str(group), way, str(port), "-j", "DROP")
            for group in groups
            for way in ("--dport", "--sport")
        ]
        with _in_force(rules):
            yield

    @contextmanager
    def led(self, groups: Iterable[int], port: int, to: int) -> Iterator[None]:
        """Lead new connections of clients to a node to another port."""
        there = ("-p", "tcp", "-d", HOST, "--dport", str(port))
        rules: list[Rule] = [
            ("nat", "OUTPUT", "-m", "owner", "--gid-owner", str(group), *there, "-j", "REDIRECT", "--to-ports", str(to))
            for group in groups
        ]
        with _in_force(rules):
            yield


_IPTABLES = ("iptables", "-w")


@contextmanager
def _in_force(rules: Iterable[Rule]) -> Iterator[None]:
    with ExitStack() as stack:
        for table, chain, *rule in rules:
            _run(*_IPTABLES, "-t", table, "-A", chain, *rule)
            stack.callback(_run, *_IPTABLES, "-t", table, "-D", chain, *rule)
        yield


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NetworkError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise NetworkError((done.stderr.strip().splitlines() or [f"{command[0]} failed"])[-1])


def join_producers() -> None:
    """Make what this thread opens the producers', and no other thread's."""
    # Threads have a file system group each, which is also that of their sockets; Python offers no call for it.
    ctypes.CDLL(None).setfsgid(PRODUCERS)


def enter(module: str) -> str:
    """Run a module again, with the same arguments, in a network namespace of its own, instead of this process.

    Returns:
        Why that is not possible.
    """
    if shutil.which("unshare") is None:
        return "unshare is not installed (Debian: util-linux)"
    root = () if os.geteuid() == 0 else ("sudo", "-n")
    kept = [f"{name}={value}" for name, value in os.environ.items() if name.startswith(("PATH", "PYTHON", "LANG"))]
    apart = (*root, "env", *kept, f"{PRIVATE}=1", "unshare", "--net", sys.executable, "-m")
    try:
        _run(*apart, __name__)
    except NetworkError as error:
        return str(error)
    sys.stdout.flush()
    return os.execvp(apart[0], [*apart, module, *sys.argv[1:]])


def _try() -> int:
    """Whether the rules work here."""
    try:
        network = Network(0)
        with network.cut(network.groups, 1), network.led(network.groups, 1, 2):
            return 0
    except NetworkError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_try())
