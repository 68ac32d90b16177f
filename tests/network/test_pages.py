"""Pages that are given back are gone from memory, and tell whether anybody read them since."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ezstems.network import openvino_engine, pages
from ezstems.network.openvino_engine import OpenvinoEngine
from ezstems.network.pages import Pages
from ezstems.weights import folders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is given back")
SIZE = 3_000_001  # no whole number of pages


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_copy_is_in_order_and_its_memory_goes() -> None:
    held, original = Pages(), np.arange(SIZE * 3, dtype=np.float32).reshape(3, SIZE)
    copy = held.copy(original.T)
    assert copy.flags.c_contiguous and np.array_equal(copy, original.T)
    before = resident_bytes()
    assert held.release()
    assert before - resident_bytes() > 0.9 * copy.nbytes


@pytest.mark.parametrize("at", [0, SIZE // 2, SIZE - 1])
def test_a_single_read_is_noticed(at: int) -> None:
    held = Pages()
    copies = [held.copy(np.ones(SIZE, np.float32)) for _ in range(3)]
    assert held.were_read() and held.release()
    assert not held.were_read()
    assert copies[1][at] == 0
    assert held.were_read()


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was seen of networks in this process."""
    monkeypatch.setattr(openvino_engine, "_independent", {})


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("stems", folders.STEM_COUNTS)
def test_compiled_networks_do_without_their_kernels(stems: int, models: Path, caplog: pytest.LogCaptureFixture) -> None:
    for precision in ("float32", "bfloat16"):
        OpenvinoEngine(folders.find("official", stems, models), "11kHz", precision)
        OpenvinoEngine(folders.find("builtin", stems, models), "11kHz", precision)
    assert len(openvino_engine._independent) == 4 and all(openvino_engine._independent.values())
    assert "stay in memory" not in caplog.text


@pytest.mark.usefixtures("nothing_known")
def test_kernels_that_are_read_again_stay(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found, tile = folders.find("official", 2, models), np.ones((512, 1024, 2), np.float32)
    expected = {name: mask.copy() for name, mask in OpenvinoEngine(found, "11kHz", "float32").runner()(tile).items()}
    openvino_engine._independent.clear()
    monkeypatch.setattr(Pages, "were_read", lambda self: True)
    given_back: list[Pages] = []
    release = Pages.release
    monkeypatch.setattr(Pages, "release", lambda self: given_back.append(self) or release(self))
    for _ in range(2):
        engine = OpenvinoEngine(found, "11kHz", "float32")
        masks = engine.runner()(tile)
        assert all(np.array_equal(masks[name], expected[name]) for name in expected)
    assert caplog.text.count("goes on reading the kernels of official 2stems") == 1 and len(given_back) == 1


def test_nothing_is_given_back_where_reads_are_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "PAGEMAP", tmp_path / "pagemap")
    held = Pages()
    copy = held.copy(np.ones(SIZE, np.float32))
    assert not held.release() and copy.all()
