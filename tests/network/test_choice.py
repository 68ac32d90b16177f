"""Which engine runs a network: what is asked for, or the fast one with the reference in its place where it fails."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from ezstems.errors import ConfigurationError
from ezstems.network import choice, unet
from ezstems.network.choice import open_engine
from ezstems.network.openvino_engine import OpenvinoEngine
from ezstems.network.runtimes import PYTHON
from ezstems.weights import folders
from tests.support.audio_files import song, write_wav
from tests.support.tensorflow import ENGINES, needs_tensorflow

ROOT = Path(__file__).resolve().parents[2]
Breaker = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """Return a copy of the small models that a test may damage."""
    return shutil.copytree(models, tmp_path / "models")


def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)


def not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenvinoEngine, "_compile", Mock(side_effect=RuntimeError("no such instruction")))


def of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet, "KINDS", ("unet.softmax_unet",))


breakers = pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (not_installed, "the log says why"),
        (not_compiled, "the log says why"),
        (of_another_kind, "it is a network of type 'unet.unet'"),
    ],
    ids=["not installed", "not compiled", "of another kind"],
)


@pytest.mark.parametrize("asked", ["auto", *ENGINES])
def test_what_works_is_what_was_asked_for(asked: str, models: Path) -> None:
    opened = open_engine(asked, "float32", folders.find("official", 2, models), "11kHz")
    assert opened.name == ("openvino" if asked == "auto" else asked)


@needs_tensorflow
@breakers
def test_auto_falls_back_and_says_so(
    break_it: Breaker, why: str, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_it(monkeypatch)
    opened = open_engine("auto", "float32", folders.find("official", 2, models), "11kHz")
    assert (opened.name, opened.bins) == ("tensorflow", 1024)
    # A thread of another file's app may log meanwhile, as may TensorFlow.
    told = [record.getMessage() for record in caplog.records if record.name == choice.__name__]
    assert told[-1:] == [f"official 2stems runs in TensorFlow, which is slower; {why}"]
    assert ("Traceback" in caplog.text) == (why == "the log says why")


@breakers
def test_openvino_alone_is_refused(
    break_it: Breaker, why: str, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_it(monkeypatch)
    with pytest.raises(ConfigurationError) as error:
        open_engine("openvino", "float32", folders.find("official", 2, models), "11kHz")
    assert str(error.value) == f"EZSTEMS_ENGINE=openvino: official 2stems can't run in OpenVINO here; {why}"
    assert "runs in TensorFlow" not in caplog.text


@pytest.mark.parametrize("missing", ["tensorflow", pytest.param("tf_keras", marks=needs_tensorflow)])
@breakers
def test_without_tensorflow_nothing_is_left_to_fall_back_to(
    break_it: Breaker, why: str, missing: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError) as error:
        open_engine("auto", "float32", folders.find("official", 2, models), "11kHz")
    lacking = f"nor in TensorFlow: {missing!r} is not installed for {PYTHON}"
    assert str(error.value) == f"official 2stems can't run in OpenVINO here; {why}; {lacking}"


@pytest.mark.parametrize("asked", ["auto", *ENGINES])
def test_a_checkpoint_that_does_not_fit_is_refused(asked: str, folder: Path) -> None:
    (folder / "2stems" / "config.json").unlink()
    with pytest.raises(ConfigurationError, match="official 2stems: the checkpoint doesn't fit"):
        open_engine(asked, "float32", folders.find("official", 2, folder), "11kHz")


@pytest.mark.parametrize("asked", ["auto", *ENGINES])
@pytest.mark.parametrize("change", ["a bit", "the end", "all"])
def test_a_damaged_checkpoint_is_refused(asked: str, change: str, folder: Path) -> None:
    found = folders.find("official", 2, folder)
    shard = folder / "2stems" / "model.data-00000-of-00001"
    content = shard.read_bytes()
    flipped = content[:-9000] + bytes([content[-9000] ^ 4]) + content[-8999:]
    shard.write_bytes({"a bit": flipped, "the end": content[:-9000], "all": b""}[change])
    with pytest.raises(ConfigurationError, match=r"^official 2stems: 'model.*' is damaged$") as error:
        open_engine(asked, "float32", found, "11kHz")
    assert asked == "tensorflow" or "'model.data-00000-of-00001'" in str(error.value)


@pytest.mark.parametrize(("processor", "meant"), [(True, "bfloat16"), (False, "float32")])
def test_the_precision_that_auto_means(processor: bool, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_bfloat16", lambda: processor)
    assert [choice.resolve(asked) for asked in choice.PRECISIONS] == [meant, "float32", meant]


def test_settings_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (("onnx", "auto"), ("auto", "float16")):
        with pytest.raises(ConfigurationError, match="must be one of auto, "):
            choice.check(*wrong)
    choice.check("openvino", "bfloat16")
    for name in ("openvino", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
        choice.check("auto", "auto")
        with pytest.raises(ConfigurationError) as error:
            choice.check(name, "auto")
        why = f"needs the package {name}, which is not installed for {PYTHON}"
        assert str(error.value) == f"EZSTEMS_ENGINE={name!r} {why}"


def test_the_fast_engine_loads_neither_tensorflow_nor_what_tells_its_makers(models: Path, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "song.wav", song(50_000))
    code = """
import json, sys
from pathlib import Path
from ezstems.audio.separate import Separator
separator = Separator(Path(sys.argv[1]), "official", engine="openvino")
made = separator(Path(sys.argv[2]), Path(sys.argv[3]), stems=2)
print(json.dumps([made.samples, [name for name, module in sys.modules.items() if module and "." not in name]]))
"""
    arguments = [sys.executable, "-c", code, str(models), str(source), str(tmp_path)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True)
    samples, loaded = json.loads(done.stdout)
    assert samples == 50_000 and "openvino" in loaded
    assert not {"tensorflow", "tf_keras", "pandas", "openvino_telemetry"} & set(loaded)
