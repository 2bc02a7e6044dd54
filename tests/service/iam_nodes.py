"""What ElastiCache's nodes do with IAM's users: they take a token for a while after it was signed, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from scripts.localcluster import LocalCluster, Node
from scripts.localcluster.errors import NodeError
from tests.service.sigv4 import elasticache_token

REGION, KEY, SECRET, SESSION = "eu-central-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/+="
#: Seconds for which tokens are taken here; ElastiCache's are 900.
ACCEPTED = 40
#: Seconds that are prepared for.
AHEAD = 60

#: The variables from which botocore takes what it signs with.
AWS_VARIABLES = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SESSION,
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}


class IamNodes:
    """The passwords of a cluster's user are the tokens of the last seconds, as this side computes them."""

    def __init__(self, cluster: LocalCluster, group: str) -> None:
        self._cluster, self._group = cluster, group
        self._known: dict[Node, set[int]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="iam nodes")

    def start(self) -> None:
        for node in self._cluster.nodes:
            self._turn(node)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def cut(self) -> None:
        """End every connection of the user, as after twelve hours."""
        for node in self._cluster.nodes:
            node.command("CLIENT", "KILL", "USER", self._cluster.username)

    def connections(self, used_within: float) -> set[tuple[int, str, str]]:
        """Those of the user on which something was sent in the last seconds: node, id and name.

        Without the broadcast readers, which block for longer than these tests last.
        """
        return {
            (node.port, client["id"], client["name"])
            for node in self._cluster.nodes
            for client in node.admin.client_list()
            if client["user"] == self._cluster.username and int(client["idle"]) <= used_within
            if not client["name"].endswith(":fanout")
        }

    def _run(self) -> None:
        while not self._stopping.wait(1.0):
            for node in self._cluster.nodes:
                try:
                    self._turn(node)
                except NodeError:
                    # It gets all of them at its next turn.
                    self._known.pop(node, None)

    def _turn(self, node: Node) -> None:
        now = int(time.time())
        wanted, known = set(range(now - ACCEPTED, now + AHEAD + 1)), self._known.get(node, set())
        # The password with which the cluster was made is worth nothing from now on.
        rules = [] if known else ["resetpass"]
        rules += [f">{self._token(second)}" for second in sorted(wanted - known)]
        rules += [f"<{self._token(second)}" for second in sorted(known - wanted)]
        if rules:
            node.command("ACL", "SETUSER", self._cluster.username, *rules)
        self._known[node] = wanted

    def _token(self, second: int) -> str:
        return elasticache_token(
            user=self._cluster.username,
            group=self._group,
            region=REGION,
            key=KEY,
            secret=SECRET,
            at=datetime.fromtimestamp(second, UTC),
            session=SESSION,
        )


@contextmanager
def iam_nodes(cluster: LocalCluster, group: str) -> Iterator[IamNodes]:
    nodes = IamNodes(cluster, group)
    nodes.start()
    try:
        yield nodes
    finally:
        nodes.stop()
