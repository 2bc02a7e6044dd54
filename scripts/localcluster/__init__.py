"""A real Redis Cluster on this machine: three primaries, three replicas, and the faults that tests need."""

from scripts.localcluster.cluster import LocalCluster
from scripts.localcluster.errors import LocalClusterError
from scripts.localcluster.node import Node

__all__ = ["LocalCluster", "LocalClusterError", "Node"]
