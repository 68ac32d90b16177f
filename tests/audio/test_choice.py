"""Which engine runs a network: what is asked for, or the fast one with the reference in its place where it fails."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import Mock

import pytest

from ezstems.audio import engine, frozen, weights
from ezstems.audio.engine import open_engine
from ezstems.audio.frozen import NETWORK
from ezstems.audio.weights import Weights
from ezstems.errors import ConfigurationError
from tests.audio.audio_files import song, write_wav

ROOT = Path(__file__).resolve().parents[2]
Breaker = Callable[[pytest.MonkeyPatch, Weights, Path], None]


@pytest.fixture(scope="module")
def whole(models: Path) -> Path:
    """Return the folder of small models with 2 stems frozen."""
    frozen.require(weights.find("official", 2, models), models)
    return models


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may damage."""
    return shutil.copytree(whole, tmp_path / "models")


def not_installed(monkeypatch: pytest.MonkeyPatch, found: Weights, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(frozen, "version", Mock(side_effect=PackageNotFoundError("openvino")))


def not_importable(monkeypatch: pytest.MonkeyPatch, found: Weights, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)


def graph_damaged(monkeypatch: pytest.MonkeyPatch, found: Weights, folder: Path) -> None:
    network = frozen.folder(found, folder) / NETWORK
    network.write_bytes(network.read_bytes()[:-1000])


def weights_damaged(monkeypatch: pytest.MonkeyPatch, found: Weights, folder: Path) -> None:
    values = (frozen.folder(found, folder) / NETWORK).with_suffix(".bin")
    values.write_bytes(values.read_bytes()[:1000])


def folder_in_the_way(monkeypatch: pytest.MonkeyPatch, found: Weights, folder: Path) -> None:
    shutil.rmtree(folder / frozen.FOLDER)
    (folder / frozen.FOLDER).write_text("a file")


def child_fails(monkeypatch: pytest.MonkeyPatch, found: Weights, folder: Path) -> None:
    shutil.rmtree(folder / frozen.FOLDER)
    monkeypatch.setattr(sys, "executable", "/bin/false")


breakers = pytest.mark.parametrize(
    "break_it",
    [not_installed, not_importable, folder_in_the_way, child_fails],
    ids=lambda breaker: breaker.__name__,
)


@pytest.mark.parametrize(("asked", "got"), [("auto", "openvino"), ("openvino", "openvino"), ("tensorflow",) * 2])
def test_what_works_is_what_was_asked_for(asked: str, got: str, whole: Path) -> None:
    found = weights.find("official", 2, whole)
    assert open_engine(asked, "float32", found, "11kHz", whole).name == got


@breakers
def test_auto_falls_back_and_says_so(
    break_it: Breaker, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = weights.find("official", 2, folder)
    break_it(monkeypatch, found, folder)
    opened = open_engine("auto", "float32", found, "11kHz", folder)
    assert (opened.name, opened.bins) == ("tensorflow", 1024)
    warned = [record.getMessage() for record in caplog.records if record.name == engine.__name__]
    assert any("official 2stems can't run in OpenVINO" in text for text in warned)
    assert any("official 2stems runs in TensorFlow" in text for text in warned)


@breakers
def test_openvino_alone_is_refused(
    break_it: Breaker, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = weights.find("official", 2, folder)
    break_it(monkeypatch, found, folder)
    with pytest.raises(ConfigurationError, match="EZSTEMS_ENGINE=openvino: official 2stems can't run in OpenVINO here"):
        open_engine("openvino", "float32", found, "11kHz", folder)
    assert "official 2stems can't run in OpenVINO" in caplog.text and "Traceback" in caplog.text
    assert "runs in TensorFlow" not in caplog.text


@pytest.mark.parametrize("damage", [graph_damaged, weights_damaged])
def test_a_damaged_network_is_frozen_anew(damage: Breaker, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = weights.find("official", 2, folder)
    before = [path.read_bytes() for path in sorted(frozen.folder(found, folder).iterdir())]
    damage(monkeypatch, found, folder)
    assert open_engine("openvino", "float32", found, "11kHz", folder).name == "openvino"
    after = [path.stat().st_size for path in sorted(frozen.folder(found, folder).iterdir())]
    assert after == [len(content) for content in before]


@pytest.mark.parametrize("asked", ["auto", "tensorflow"])
def test_a_checkpoint_that_does_not_fit_is_refused(asked: str, folder: Path) -> None:
    (folder / "2stems" / "config.json").unlink()
    with pytest.raises(ConfigurationError, match="official 2stems: the checkpoint doesn't fit"):
        open_engine(asked, "float32", weights.find("official", 2, folder), "11kHz", folder)


@pytest.mark.parametrize(("processor", "meant"), [(True, "bfloat16"), (False, "float32")])
def test_the_precision_that_auto_means(processor: bool, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "has_bfloat16", lambda: processor)
    assert [engine.resolve(asked) for asked in engine.PRECISIONS] == [meant, "float32", meant]


def test_settings_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (("onnx", "auto"), ("auto", "float16")):
        with pytest.raises(ConfigurationError, match="must be one of auto, "):
            engine.check(*wrong)
    engine.check("openvino", "bfloat16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine.check("auto", "auto")
    with pytest.raises(ConfigurationError, match="needs the package openvino"):
        engine.check("openvino", "auto")


def test_the_fast_engine_loads_neither_tensorflow_nor_what_tells_its_makers(whole: Path, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", song(50_000))
    code = """
import json, sys
from pathlib import Path
from ezstems.audio.separate import Separator
separator = Separator(Path(sys.argv[1]), "official", engine="openvino")
made = separator(Path(sys.argv[2]), Path(sys.argv[3]), stems=2)
print(json.dumps([made.samples, [name for name, module in sys.modules.items() if module and "." not in name]]))
"""
    arguments = [sys.executable, "-c", code, str(whole), str(source), str(tmp_path)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True)
    samples, loaded = json.loads(done.stdout)
    assert samples == 50_000 and "openvino" in loaded
    assert not {"tensorflow", "tf_keras", "spleeter", "pandas", "openvino_telemetry"} & set(loaded)
