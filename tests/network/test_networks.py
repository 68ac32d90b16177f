"""The networks in memory: loaded when they are used, one quick one at a time, let go when nobody asks."""

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ezstems.errors import ConfigurationError, ModelMissing
from ezstems.network import networks
from ezstems.network.engine import Engine, Masks
from ezstems.network.networks import Networks
from ezstems.weights.folders import Weights
from tests.support.audio_files import song
from tests.support.tensorflow import ENGINES

IDLE_SECONDS = 600.0


class Stub:
    """Stand for an engine of either kind."""

    name = "stub"
    bins = 1024
    precision = "float32"

    def __init__(self, quick: bool) -> None:
        self.quick = quick

    def runner(self) -> Masks:
        raise AssertionError("nothing runs here")


class Loader:
    """Stand for `open_engine`: load stubs and note which; `gate` and `error` let a test decide how."""

    def __init__(self) -> None:
        self.quick = True
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.loaded: list[tuple[str, str]] = []

    def __call__(self, engine: str, precision: str, weights: Weights, cutoff: str) -> Engine:
        self.loaded.append((weights.label, cutoff))
        self.started.set()
        assert self.gate.wait(60)
        if self.error is not None:
            raise self.error
        return Stub(self.quick)

    @property
    def stems(self) -> list[int]:
        """Return the numbers of stems of what was loaded, in order."""
        return [int(label.split()[1][0]) for label, _ in self.loaded]


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Loader:
    loader = Loader()
    monkeypatch.setattr(networks, "open_engine", loader)
    return loader


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock; return a function that moves it on by so many seconds."""
    now = [1000.0]

    def move(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(networks, "monotonic", lambda: now[0])
    return move


@pytest.fixture
def small(models: Path) -> Networks:
    return Networks(models, "official", "auto", "auto", IDLE_SECONDS)


def use(small: Networks, stems: int, cutoff: str = "11kHz") -> "weakref.ref[Engine]":
    """Use a network; return a reference that keeps it from nothing."""
    with small.use(stems, cutoff) as engine:
        return weakref.ref(engine)


def test_a_network_is_loaded_when_it_is_first_used(small: Networks, loader: Loader) -> None:
    assert loader.loaded == []
    first = use(small, 2)
    assert first() is not None and first() is use(small, 2)()
    assert loader.loaded == [("official 2stems", "11kHz")]


def test_one_quick_network_at_a_time(small: Networks, loader: Loader) -> None:
    first = use(small, 2)
    other = use(small, 2, "16kHz")
    assert first() is None and other() is not None
    use(small, 4)
    assert other() is None
    use(small, 2)
    assert loader.stems == [2, 2, 4, 2]


def test_one_in_use_is_not_dropped(small: Networks, loader: Loader) -> None:
    with small.use(2, "11kHz") as engine:
        use(small, 4)
        with small.use(2, "11kHz") as again:
            assert again is engine
        use(small, 5)
        with small.use(2, "11kHz") as again:
            assert again is engine
    assert loader.stems == [2, 4, 5]


def test_a_slow_network_is_kept_beside_others(small: Networks, loader: Loader) -> None:
    loader.quick = False
    slow = [use(small, stems) for stems in (2, 4)]
    loader.quick = True
    use(small, 5)
    assert [use(small, stems)() for stems in (2, 4)] == [reference() for reference in slow]
    assert loader.stems == [2, 4, 5]


@pytest.mark.parametrize("quick", [True, False])
def test_what_is_idle_is_let_go_and_loaded_again(
    quick: bool, small: Networks, loader: Loader, clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    loader.quick = quick
    with caplog.at_level(logging.INFO):
        first = use(small, 2)
        clock(IDLE_SECONDS - 1)
        small.drop_idle()
        assert first() is not None and "let go" not in caplog.text
        assert use(small, 2)() is first()  # which counts as a use
        clock(IDLE_SECONDS - 1)
        small.drop_idle()
        assert first() is not None
        clock(1)
        small.drop_idle()
    assert first() is None and "let go of 2 stems for 11kHz after 600 idle seconds" in caplog.text
    assert use(small, 2)() is not None
    assert loader.stems == [2, 2]


def test_what_is_in_use_is_not_let_go(small: Networks, loader: Loader, clock: Callable[[float], None]) -> None:
    with small.use(2, "11kHz") as engine:
        clock(10 * IDLE_SECONDS)
        small.drop_idle()
        reference = weakref.ref(engine)
        del engine
        clock(1)
    assert use(small, 2)() is reference() is not None
    clock(IDLE_SECONDS - 1)  # from the end of the use, not its beginning
    small.drop_idle()
    assert reference() is not None


def test_two_at_once_load_once_also_after_a_rest(
    small: Networks, loader: Loader, clock: Callable[[float], None]
) -> None:
    use(small, 2)
    clock(IDLE_SECONDS)
    small.drop_idle()
    loader.loaded.clear()
    loader.started.clear()
    loader.gate.clear()
    asking, having = threading.Barrier(3, timeout=60), threading.Barrier(2, timeout=60)

    def work() -> Engine:
        asking.wait()
        with small.use(2, "11kHz") as engine:
            having.wait()
            return engine

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work) for _ in range(2)]
        asking.wait()
        assert loader.started.wait(60)
        loader.gate.set()
        one, other = (future.result() for future in futures)
    assert one is other
    assert loader.stems == [2]


def test_a_load_holds_up_nobody_else(small: Networks, loader: Loader) -> None:
    loader.quick = False
    first = use(small, 2)
    loader.started.clear()
    loader.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(use, small, 4)
        assert loader.started.wait(60)
        assert use(small, 2)() is first()
        small.drop_idle()
        assert not loading.done()
        loader.gate.set()
        assert loading.result()() is not None
    assert loader.stems == [2, 4]


def test_one_that_does_not_load_is_tried_again(small: Networks, loader: Loader) -> None:
    loader.error = ConfigurationError("no")
    for _ in range(2):
        with pytest.raises(ConfigurationError), small.use(2, "11kHz"):
            pass
    loader.error = None
    assert use(small, 2)() is not None
    assert loader.stems == [2, 2, 2]


def test_a_use_that_fails_is_over(small: Networks, loader: Loader, clock: Callable[[float], None]) -> None:
    with pytest.raises(MemoryError), small.use(2, "11kHz") as engine:
        reference = weakref.ref(engine)
        raise MemoryError
    del engine
    clock(IDLE_SECONDS)
    small.drop_idle()
    assert reference() is None


def test_missing_weights(tmp_path: Path, loader: Loader) -> None:
    nothing = Networks(tmp_path, "official", "auto", "auto", IDLE_SECONDS)
    for ask in (lambda: nothing.weights(2), lambda: use(nothing, 2)):
        with pytest.raises(ModelMissing):
            ask()
    assert loader.loaded == []


@pytest.mark.parametrize("engine", ENGINES)
def test_for_real(engine: str, models: Path) -> None:
    real = Networks(models, "official", engine, "float32", 0.0)
    magnitudes = np.abs(song(512 * 1024)).reshape(512, 1024, 2)
    results = []
    for _ in range(2):
        with real.use(2, "11kHz") as opened:
            results.append({name: mask.copy() for name, mask in opened.runner()(magnitudes).items()})
            reference = weakref.ref(opened)
        del opened
        assert reference() is not None
        real.drop_idle()
        assert reference() is None
    assert all(np.array_equal(results[0][name], results[1][name]) for name in results[0])
