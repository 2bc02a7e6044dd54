"""Kills the bridge at random instants, again and again: `python -m tests.bridge.killing SEED KILLS ARGUMENTS…`.

The arguments are the bridge's. Each bridge is a fork of this process: what is imported need not be imported again, so
many kills fit into a second. Prints how many bridges were killed, and how many ended by themselves before that.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from service.bridge.__main__ import main


def run(seed: int, kills: int, arguments: list[str]) -> int:
    """Kill so many bridges; returns the exit status of the last one, which is left alone."""
    chance = random.Random(seed)
    killed = ended = 0
    while killed < kills:
        child = os.fork()
        if child == 0:
            os._exit(main(arguments))
        time.sleep(chance.choice((0.01, 0.05, 0.3)) * chance.random() + 0.005)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        else:
            ended += 1
            if ended > kills:
                break
    print(f"{killed} killed, {ended} ended", flush=True)
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
