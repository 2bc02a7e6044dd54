"""`make demo`: the rendered staging fleet on this machine, on a real Redis Cluster, through two faults."""
