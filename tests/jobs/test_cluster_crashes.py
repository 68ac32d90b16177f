"""Accidents of a cluster whose hosts are network namespaces: kills, outages and cuts under traffic lose nothing.

`make soak CLUSTER=1` plays many more of these rounds, some with the seconds of life.
"""

import subprocess
import sys

import pytest

from tests.soak.cluster import CANNOT
from tests.support.servers import ROOT

KINDS = {
    "redis": (
        *("a separation box killed", "a web box killed", "the broker killed"),
        *("the database killed", "the store away", "a cut"),
    ),
    "rabbitmq": ("the broker killed",),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("broker", KINDS)
def test_whatever_befalls_a_cluster_nothing_accepted_is_lost_doubled_or_stuck(broker: str) -> None:
    """In a process of its own, which enters the network of its hosts before anything has a thread in another."""
    rounds = str(len(KINDS[broker]))
    counts = ("--real", "0", "--rounds", rounds, "--rabbitmq", rounds if broker == "rabbitmq" else "0")
    command = ["timeout", "380", sys.executable, "-m", "tests.soak.cluster", *counts, "--seed", broker]
    command += ["--kinds", ",".join(KINDS[broker])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": held") == len(KINDS[broker])
