"""The cluster with everything that can happen to one."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Literal

from scripts.localcluster import slots
from scripts.localcluster.errors import LocalClusterError
from scripts.localcluster.formation import meet, replicate
from scripts.localcluster.node import Node
from scripts.localcluster.ports import free_ports
from scripts.localcluster.running import RunningCluster
from scripts.localcluster.topology import Member, view
from scripts.localcluster.waiting import wait_for

#: Seconds after which a node is asked again to become a primary.
ASK_AGAIN = 6.0


class LocalCluster(RunningCluster):
    """A local Redis Cluster whose nodes can be killed, frozen, promoted, added and removed, and whose slots move.

    Times are seconds. Every method raises LocalClusterError when the cluster does not do what was asked in time.
    """

    def kill(self, node: Node) -> None:
        """End a node at once (SIGKILL)."""
        self._remember_slots(node)
        node.kill()

    def freeze(self, node: Node) -> None:
        """Make a node silent without closing its sockets (SIGSTOP)."""
        self._remember_slots(node)
        node.freeze()

    def thaw(self, node: Node) -> None:
        """Let a frozen node go on (SIGCONT)."""
        node.thaw()

    def wait_promoted(self, lost: Node, timeout: float = 90.0) -> Node:
        """Wait until a replica has taken over from a primary that was killed or frozen.

        Args:
            lost: The primary.
            timeout: Seconds.

        Returns:
            The new primary, on which all other responsive nodes agree.

        Raises:
            LocalClusterError: The node served no slots, or nobody took over in time.
        """
        if lost not in self._served:
            raise LocalClusterError(f"Port {lost.port} served no slots that somebody could take over.")
        self.wait_until_stable(timeout)
        return self.primary_of_slot(self._served[lost])

    def restart(self, node: Node, timeout: float = 90.0) -> None:
        """Start a dead node again with its old files, or end and start a living one.

        Args:
            node: The node.
            timeout: Seconds until it must answer; use `wait_until_stable` to wait for the cluster.

        Raises:
            LocalClusterError: The node still serves slots and has no persistence: it would come back empty, and its
                replica would follow it.
        """
        if not self._appendonly and self._would_lose_data(node):
            raise LocalClusterError(
                f"Port {node.port} would come back empty and its replica would follow it: "
                "wait until the replica is promoted, or use a cluster with appendonly."
            )
        node.kill()
        node.launch()
        wait_for(node.problem, timeout, "The node did not come back")

    def failover(
        self, replica: Node, option: Literal["FORCE", "TAKEOVER"] | None = None, timeout: float = 90.0
    ) -> None:
        """Promote a replica by hand and wait until all nodes agree.

        Args:
            replica: Who becomes primary.
            option: FORCE does without the primary's consent, TAKEOVER without the cluster's.
            timeout: Seconds.

        Raises:
            LocalClusterError: The node is no replica, or was not promoted in time.
        """
        if replica.role != "replica":
            raise LocalClusterError(f"Port {replica.port} is a primary already.")
        asked = -math.inf

        def problem() -> str | None:
            nonlocal asked
            if replica.role == "primary":
                return None
            # After 5 s Redis gives it up without a word, also when those who vote have voted just before.
            if time.monotonic() - asked > ASK_AGAIN:
                replica.command("CLUSTER", "FAILOVER", *([option] if option else []))
                asked = time.monotonic()
            return f"port {replica.port} is still a replica"

        wait_for(problem, timeout, "The replica was not promoted")
        self.wait_until_stable(timeout)

    def migrate_slot(self, slot: int, target: Node) -> None:
        """Move a slot with its keys to another primary and wait until all nodes agree."""
        self.open_slot(slot, target)
        self.move_keys(slot, target)
        self.close_slot(slot, target)

    def open_slot(self, slot: int, target: Node) -> None:
        """Begin a move: missing keys are redirected from now on, commands on several keys may get TRYAGAIN."""
        slots.open_slot(slot, self.primary_of_slot(slot), target)

    def move_keys(self, slot: int, target: Node, limit: int | None = None) -> int:
        """Move keys of an open slot.

        Args:
            slot: The slot.
            target: Who gets them.
            limit: At most so many keys; None moves all.

        Returns:
            How many were moved.
        """
        return slots.move_keys(slot, self.primary_of_slot(slot), target, self.settings.admin_password, limit)

    def close_slot(self, slot: int, target: Node) -> None:
        """End a move whose keys are all on the target, and wait until all nodes agree."""
        slots.close_slot(slot, target, self.primaries)
        self.wait_until_stable()

    def abort_slot(self, slot: int, target: Node) -> None:
        """Give a move up; keys that were moved already stay on the target, unreachable until it is opened again."""
        slots.abort_slot(slot, self.primary_of_slot(slot), target)

    def return_slot(self, slot: int, target: Node) -> None:
        """Give a move up and carry back what was moved.

        Redis cannot do this in one step: no client may reach the two nodes meanwhile, or it would take the keys that
        are on their way for missing.
        """
        slots.return_slot(slot, self.primary_of_slot(slot), target, self.settings.admin_password)

    def allow_password(self, password: str) -> None:
        """Let the clients use another password besides their own, from now on and after restarts."""
        self._change_users("ACL", "SETUSER", self.username, f">{password}")

    def require_password(self, password: str) -> None:
        """Let the clients use this password only, and cut the connections of those that used another."""
        self._change_users("ACL", "SETUSER", self.username, "resetpass", f">{password}")
        self.password = password
        # Nodes that are added later, too.
        self._settings = replace(self.settings, password=password)
        for node in self.nodes:
            node.command("CLIENT", "KILL", "USER", self.username)

    def _change_users(self, *command: str) -> None:
        for node in self.nodes:
            node.command(*command)
            node.command("ACL", "SAVE")

    def add_node(self, replica_of: Node | None = None, timeout: float = 90.0) -> Node:
        """Start one more node and wait until all nodes know it.

        Args:
            replica_of: Its primary; None adds a primary without slots.
            timeout: Seconds.

        Returns:
            The new node.
        """
        others = self._responsive()
        node = self._launch(free_ports(1)[0])
        wait_for(node.problem, timeout, "The new node did not start")
        for other in others:
            meet(node, other)
        if replica_of is not None:
            replicate(node, replica_of, timeout)
        self.wait_until_stable(timeout)
        return node

    def remove(self, node: Node) -> None:
        """End a node and make all others forget it.

        Raises:
            LocalClusterError: It still serves slots.
        """
        others = [other for other in self._responsive() if other is not node]
        known_id = node.id
        if any(self._member(other, node).slots for other in others):
            raise LocalClusterError(f"Port {node.port} still serves slots: move them or promote its replica first.")
        node.kill()
        self.nodes.remove(node)
        for other in others:
            other.command("CLUSTER", "FORGET", known_id)

    def _would_lose_data(self, node: Node) -> bool:
        others = [other for other in self.nodes if other.responsive and other is not node]
        return not others or any(self._member(other, node).slots for other in others)

    def _remember_slots(self, node: Node) -> None:
        own = self._member(node, node) if node.responsive else None
        if own is not None and "master" in own.flags and own.slots:
            self._served[node] = own.slots[0][0]
        else:
            self._served.pop(node, None)

    @staticmethod
    def _member(observer: Node, node: Node) -> Member:
        return next(member for member in view(observer) if member.port == node.port)
