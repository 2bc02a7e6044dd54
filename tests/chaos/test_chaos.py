"""The chaos runner as a proof: a fixed seed, every fault at least once, every promise kept."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.rediscluster.faultkit import ROOT

SEED, SECONDS = 1, 480
#: Seconds after which it is given up: for what a busy machine left of the first round, and for the end.
MORE = 600


@pytest.mark.slow(minutes=9)
@pytest.mark.timeout(SECONDS + MORE + 60)
def test_a_fleet_under_random_faults_keeps_every_promise() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--seconds", str(SECONDS), "--round"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as chaos:
        try:
            said, _ = chaos.communicate(timeout=SECONDS + MORE)
        except subprocess.TimeoutExpired:
            # It ends its cluster and its workers.
            chaos.send_signal(signal.SIGTERM)
            said, _ = chaos.communicate()
            pytest.fail(f"the run does not end:\n{said}")
    assert chaos.returncode == 0, said
    # Also those that the machine did not allow, which the run names.
    missing = [line for line in said.splitlines() if line.endswith("| 0 | - | - |")]
    assert not missing, f"did not happen: {missing}\n{said}"
