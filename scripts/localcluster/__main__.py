"""Run a local cluster in the foreground: `python -m scripts.localcluster [--tls] [--ports P …]`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from types import FrameType

from scripts.localcluster import LocalCluster, LocalClusterError
from service.fleet import REDIS_ACCESS_STRING


def main() -> int:
    """Start a cluster, print its URL and wait for Ctrl-C or SIGTERM.

    Returns:
        The exit status: 1 if the cluster did not start.
    """
    parser = argparse.ArgumentParser(prog="python -m scripts.localcluster", description=__doc__)
    parser.add_argument("--tls", action="store_true", help="use TLS with a throw-away authority")
    parser.add_argument("--ports", type=int, nargs=6, metavar="P", help="six ports (default: free ones)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell lets its background jobs ignore it.
    signal.signal(signal.SIGINT, _interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            with LocalCluster(options.ports, tls=options.tls, access_string=REDIS_ACCESS_STRING) as cluster:
                print(cluster.url, flush=True)
                if cluster.ca_file is not None:
                    print(f"authority to trust: {cluster.ca_file}", flush=True)
                print("Ctrl-C stops it.", file=sys.stderr, flush=True)
                signal.pause()
        except LocalClusterError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
