"""Making a cluster out of empty nodes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from scripts.localcluster.node import Node
from scripts.localcluster.ports import HOST
from scripts.localcluster.topology import SLOTS, view
from scripts.localcluster.waiting import wait_for


def form(nodes: Sequence[Node], primaries: int, timeout: float) -> None:
    """Join empty nodes, spread the slots over the first of them and make the others their replicas.

    Args:
        nodes: Nodes that answer; the number of replicas is a multiple of `primaries`.
        primaries: How many of them serve slots.
        timeout: Seconds until every node must know every other.

    Raises:
        LocalClusterError: That took longer.
    """
    for epoch, node in enumerate(nodes, start=1):
        # Distinct epochs from the start spare the nodes their resolution of collisions.
        node.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
    bounds = [round(SLOTS * share / primaries) for share in range(primaries + 1)]
    for primary, first, end in zip(nodes[:primaries], bounds[:-1], bounds[1:], strict=True):
        primary.command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
    for node, other in combinations(nodes, 2):
        meet(node, other)
    for index, replica in enumerate(nodes[primaries:]):
        replicate(replica, nodes[index % primaries], timeout)


def meet(node: Node, other: Node) -> None:
    """Introduce two nodes to each other; gossip does the rest."""
    node.command("CLUSTER", "MEET", HOST, other.port)


def replicate(replica: Node, primary: Node, timeout: float) -> None:
    """Make an empty node the replica of a primary.

    Args:
        replica: A node that has met the cluster.
        primary: A node with slots.
        timeout: Seconds to wait until they know each other.

    Raises:
        LocalClusterError: They did not meet in time.
    """
    wait_for(
        lambda: None if _knows(replica, primary) else f"port {replica.port} does not know port {primary.port}",
        timeout,
        "The nodes did not meet",
    )
    replica.command("CLUSTER", "REPLICATE", primary.id)


def _knows(node: Node, other: Node) -> bool:
    return any(member.id == other.id and "handshake" not in member.flags for member in view(node))
