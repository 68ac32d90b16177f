"""Who waits for a network that another thread loads says so now and then: it is alive."""

import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ezstems.network import networks
from ezstems.network.networks import Networks


class Beats:
    """Count calls; `seen` is set by the third."""

    def __init__(self) -> None:
        self.count = 0
        self.seen = threading.Event()

    def __call__(self) -> None:
        self.count += 1
        if self.count == 3:
            self.seen.set()


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("longest_seconds", [300.0, 0.0])
def test_a_network_that_another_thread_loads(
    longest_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It beats, unless the other has been at it for longer than any load takes."""
    monkeypatch.setattr(networks, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(networks, "LONGEST_LOAD_SECONDS", longest_seconds)
    loading, beats = Networks(tmp_path, "builtin", "auto", "auto", 600.0), Beats()
    resident = networks.Resident(engine=None)  # type: ignore[arg-type]

    with loading._loading:
        thread = in_a_thread(lambda: loading._enter((2, "11kHz"), beats))
        if longest_seconds:
            assert beats.seen.wait(60)
        else:
            time.sleep(0.1)
            assert beats.count == 0
        loading._residents[2, "11kHz"] = resident
    thread.join(60)
    assert not thread.is_alive() and resident.users == 1
    assert loading._loading.acquire(timeout=0), "it is free again"


def test_a_copy_in_another_process_chooses_the_same_weights_and_loads_its_own_networks(tmp_path: Path) -> None:
    ours = Networks(tmp_path, "auto", "auto", "float32", 600.0)
    chosen = ours.weights(2)
    theirs = pickle.loads(pickle.dumps(ours))
    assert theirs._chosen == {2: chosen}
    assert theirs._residents == {} and theirs._lock is not ours._lock and theirs._loading.acquire(timeout=0)
    mine = {name for name in vars(ours) if vars(ours)[name] != vars(theirs)[name]}
    assert mine == {"_lock", "_loading"}
