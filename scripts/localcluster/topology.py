"""What the nodes say about the cluster, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scripts.localcluster.node import Node

SLOTS = 16_384


@dataclass(frozen=True)
class Member:
    """One line of CLUSTER NODES.

    Attributes:
        id: The node's id.
        port: Its port.
        flags: Such as "myself", "master", "slave", "fail", "handshake".
        primary_id: Of a replica, else None.
        epoch: Its configuration epoch: of two that claim a slot, the higher one is right.
        slots: Inclusive ranges.
    """

    id: str
    port: int
    flags: frozenset[str]
    primary_id: str | None
    epoch: int
    slots: tuple[tuple[int, int], ...]

    def serves(self, slot: int) -> bool:
        """Whether the slot is the node's."""
        return any(first <= slot <= last for first, last in self.slots)


def view(node: Node) -> list[Member]:
    """Ask a node for all members that it knows.

    Raises:
        NodeError: The node does not answer.
    """
    return parse(str(node.command("CLUSTER", "NODES")))


def parse(text: str) -> list[Member]:
    """Read the answer to CLUSTER NODES."""
    return [_member(line.split()) for line in text.splitlines() if line]


def _member(fields: Sequence[str]) -> Member:
    id_, address, flags, primary, _sent, _received, epoch, _link, *slots = fields
    return Member(
        id=id_,
        port=int(address.split("@")[0].rpartition(":")[2]),
        flags=frozenset(flags.split(",")),
        primary_id=None if primary == "-" else primary,
        epoch=int(epoch),
        slots=tuple(_slot_range(item) for item in slots if not item.startswith("[")),
    )


def _slot_range(item: str) -> tuple[int, int]:
    first, _, last = item.partition("-")
    return int(first), int(last or first)


def owner_port(nodes: Iterable[Node], slot: int) -> int | None:
    """Find who serves a slot, by the claims of the nodes themselves.

    Args:
        nodes: Nodes to ask.
        slot: 0 to 16383.

    Returns:
        The port of the primary with the newest claim, or None.

    Raises:
        NodeError: A node does not answer.
    """
    selves = [member for node in nodes for member in view(node) if "myself" in member.flags]
    claims = [member for member in selves if "master" in member.flags and member.serves(slot)]
    return max(claims, key=lambda member: member.epoch).port if claims else None


def disagreement(nodes: Sequence[Node], *, each_primary_has_replica: bool = False) -> str | None:
    """Say what is missing until the nodes form a working cluster.

    Args:
        nodes: The nodes that should take part; members beyond them may have failed.
        each_primary_has_replica: Whether a primary without one counts as a problem.

    Returns:
        One problem, or None: every node reports the state ok, all see the same slots on the same living
        primaries, and every replica follows its primary.

    Raises:
        NodeError: A node does not answer.
    """
    here = {node.port for node in nodes}
    seen: set[frozenset[tuple[int, str | None, tuple[tuple[int, int], ...]]]] = set()
    for node in nodes:
        members = view(node)
        known = [member for member in members if member.port in here and "handshake" not in member.flags]
        if {member.port for member in known} != here:
            return f"port {node.port} knows {len(known)} of {len(here)} nodes"
        lost = [member.port for member in known if member.flags & {"fail", "fail?"}]
        if lost:
            return f"port {node.port} takes port {lost[0]} for failed"
        covered = sum(last - first + 1 for member in known for first, last in member.slots)
        if covered != SLOTS:
            return f"port {node.port} sees {covered} of {SLOTS} slots served"
        replicated = {member.primary_id for member in known if member.primary_id}
        alone = [member.port for member in known if member.slots and member.id not in replicated]
        if each_primary_has_replica and alone:
            return f"port {node.port} sees no replica of port {alone[0]}"
        seen.add(frozenset((member.port, member.primary_id, member.slots) for member in known))
        state = _own_problem(node)
        if state is not None:
            return state
    return None if len(seen) == 1 else "the nodes disagree about roles and slots"


def _own_problem(node: Node) -> str | None:
    info = str(node.command("CLUSTER", "INFO"))
    if "cluster_state:ok" not in info:
        return f"port {node.port} reports the cluster as failed"
    role = node.command("ROLE")
    if role[0] == "slave" and role[3] != "connected":
        return f"the replica on port {node.port} is not connected to its primary ({role[3]})"
    return None
